//! What was found out about a module, kept between its functions.
//!
//! Types, callees and function attributes are the same again and again. What is known of them is found by their ids, in
//! arrays that are filled when first asked for, and forgotten when a function of another module comes.

use kiln_bitcode::{AttributeList, AttributeListId, AttributePlace, Call, FunctionId, Module, TypeId};

use super::abi::{Signature, Vectors};
use super::finish;
use super::generator::Result;
use super::parts::PartTable;

/// What a call of a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// Nobody asked yet.
    Unknown,
    /// A function with code of its own, or an address.
    Plain,
    /// An intrinsic that means nothing here.
    Nothing,
    /// An intrinsic that never becomes a call.
    Inline,
    /// Another intrinsic.
    Intrinsic,
}

/// What a signature depends on, beside the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignatureKey {
    ty: TypeId,
    attributes: AttributeListId,
    convention: u16,
    vectors: Vectors,
}

impl SignatureKey {
    pub(crate) fn of(call: &Call, vectors: Vectors) -> Self {
        Self { ty: call.ty, attributes: call.attributes, convention: call.convention, vectors }
    }
}

/// A signature as calls need it.
#[derive(Debug, Default)]
pub(crate) struct CallSignature {
    pub(crate) signature: Signature,
    pub(crate) returns_twice: bool,
}

/// The last signature by which a function, or an address of a function type, was called.
#[derive(Debug)]
struct Site {
    callee: Callee,
    last: Option<(SignatureKey, Box<CallSignature>)>,
}

/// What the attributes of a function say about its code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Properties {
    pub(crate) vectors: Vectors,
    /// Calls that are marked so may replace the frame.
    pub(crate) may_tail_call: bool,
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// [`Module::identity`]; no module has 0.
    module: u64,
    pub(crate) types: PartTable,
    /// By function id, then by the id of the function type for calls of addresses.
    sites: Vec<Site>,
    functions: usize,
    /// By the number of the group of attributes, if there is one.
    properties: Option<(Option<u32>, Properties)>,
}

/// For which callee signatures are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SiteId(usize);

impl Known {
    /// Gets ready for a function of `module`.
    pub(crate) fn enter(&mut self, module: &Module) {
        if self.module == module.identity() {
            return;
        }
        self.module = module.identity();
        self.types.reset(module);
        self.functions = module.functions().len();
        self.sites.clear();
        let count = self.functions + module.types().len();
        self.sites.resize_with(count, || Site { callee: Callee::Unknown, last: None });
        self.properties = None;
    }

    /// What a call of `function` is, by `classify` if it is not known yet.
    pub(crate) fn callee(&mut self, function: FunctionId, classify: impl FnOnce() -> Callee) -> Callee {
        let site = &mut self.sites[function.0 as usize];
        if site.callee == Callee::Unknown {
            site.callee = classify();
        }
        site.callee
    }

    /// Where signatures of calls of `function`, or of an address by type `ty`, are kept.
    pub(crate) fn site(&self, function: Option<FunctionId>, ty: TypeId) -> SiteId {
        SiteId(match function {
            Some(function) => function.0 as usize,
            None => self.functions + ty.0 as usize,
        })
    }

    /// Takes the signature that calls at `site` had last, which must be given back; whether it is that of `key`.
    pub(crate) fn take_signature(&mut self, site: SiteId, key: SignatureKey) -> (Box<CallSignature>, bool) {
        match self.sites[site.0].last.take() {
            Some((known, signature)) => (signature, known == key),
            None => (Box::default(), false),
        }
    }

    /// Keeps a signature that [`Known::take_signature`] gave, now that of `key`.
    pub(crate) fn keep_signature(&mut self, site: SiteId, key: SignatureKey, signature: Box<CallSignature>) {
        self.sites[site.0].last = Some((key, signature));
    }

    /// What the attributes of a function say; an error if they ask for what this compiler does not do.
    pub(crate) fn properties(&mut self, attributes: AttributeList<'_>) -> Result<Properties> {
        let group = attributes.groups().find(|group| group.place() == AttributePlace::Function);
        let number = group.map(|group| group.number());
        if let Some((known, properties)) = self.properties
            && known == number
        {
            return Ok(properties);
        }
        finish::check_attributes(attributes)?;
        let properties = Properties {
            vectors: Vectors::of(attributes),
            may_tail_call: attributes.string(b"disable-tail-calls") != Some(b"true"),
        };
        self.properties = Some((number, properties));
        Ok(properties)
    }
}
