//! A limit on code memory: what is not called gives way, and is compiled again when it is called.

use kiln_abi::Permission;

use crate::engine::Inner;

/// Functions that are looked at together when some are to be made cold.
const CANDIDATES: usize = 64;

impl Inner {
    /// After code was installed: takes cold code away if there is too much, and finds out what is cold before there is.
    ///
    /// From three quarters of the limit on, an eighth of it is cold: functions in turn, without entries until somebody calls
    /// them (`kiln_dispatch::Versions::cool`). Above the limit those go that have been cold for longest, until seven eighths
    /// are left; a look at all threads frees their memory. What was installed just now is never among them, so the thread
    /// that compiled it gets to run it.
    pub(crate) fn hold_code_limit(&self) {
        let Some(limit) = self.options.code_limit else { return };
        let versions = self.versions();
        let used = self.cache.used_bytes(Permission::Code);
        let live = used.saturating_sub(versions.retired_bytes());
        if live > limit {
            versions.evict_cold(live - limit / 8 * 7);
        }
        if live > limit / 4 * 3 && versions.cold_bytes() < limit / 8 {
            self.cool(limit / 8);
        }
    }

    /// Makes functions cold until they make up `bytes`, or all have been looked at.
    fn cool(&self, bytes: u64) {
        let versions = self.versions();
        let mut left = self.table().len() as usize;
        while versions.cold_bytes() < bytes && left > 0 {
            let mut functions = versions.next_in_turn(CANDIDATES);
            if functions.is_empty() {
                return;
            }
            left = left.saturating_sub(functions.len());
            functions.retain(|function| self.can_be_made_again(*function));
            versions.cool(&functions, bytes);
        }
    }
}
