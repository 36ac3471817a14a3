//! Block ids of the bitcode format (llvm/Bitcode/LLVMBitCodes.h, llvm/Bitstream/BitCodeEnums.h).

use std::fmt;

/// The id of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockKind(pub(crate) u32);

impl BlockKind {
    pub(crate) const BLOCKINFO: BlockKind = BlockKind(0);
    pub(crate) const MODULE: BlockKind = BlockKind(8);
    pub(crate) const PARAMATTR: BlockKind = BlockKind(9);
    pub(crate) const PARAMATTR_GROUP: BlockKind = BlockKind(10);
    pub(crate) const CONSTANTS: BlockKind = BlockKind(11);
    pub(crate) const FUNCTION: BlockKind = BlockKind(12);
    pub(crate) const IDENTIFICATION: BlockKind = BlockKind(13);
    pub(crate) const VALUE_SYMTAB: BlockKind = BlockKind(14);
    pub(crate) const METADATA: BlockKind = BlockKind(15);
    pub(crate) const TYPE: BlockKind = BlockKind(17);
    pub(crate) const OPERAND_BUNDLE_TAGS: BlockKind = BlockKind(21);
    pub(crate) const METADATA_KIND: BlockKind = BlockKind(22);
    pub(crate) const STRTAB: BlockKind = BlockKind(23);
    pub(crate) const SYMTAB: BlockKind = BlockKind(25);
    pub(crate) const SYNC_SCOPE_NAMES: BlockKind = BlockKind(26);
    /// Not a block: the sequence of blocks that makes up a file.
    pub(crate) const FILE: BlockKind = BlockKind(u32::MAX);
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "BLOCKINFO_BLOCK",
            8 => "MODULE_BLOCK",
            9 => "PARAMATTR_BLOCK",
            10 => "PARAMATTR_GROUP_BLOCK",
            11 => "CONSTANTS_BLOCK",
            12 => "FUNCTION_BLOCK",
            13 => "IDENTIFICATION_BLOCK",
            14 => "VALUE_SYMTAB_BLOCK",
            15 => "METADATA_BLOCK",
            16 => "METADATA_ATTACHMENT",
            17 => "TYPE_BLOCK_NEW",
            18 => "USELIST_BLOCK",
            19 => "MODULE_STRTAB_BLOCK",
            20 => "GLOBALVAL_SUMMARY_BLOCK",
            21 => "OPERAND_BUNDLE_TAGS_BLOCK",
            22 => "METADATA_KIND_BLOCK",
            23 => "STRTAB_BLOCK",
            24 => "FULL_LTO_GLOBALVAL_SUMMARY_BLOCK",
            25 => "SYMTAB_BLOCK",
            26 => "SYNC_SCOPE_NAMES_BLOCK",
            u32::MAX => "file",
            other => return write!(f, "block {other}"),
        };
        f.write_str(name)
    }
}
