//! Reads: users and calls out of the agent's memory, in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::address::{Address, ObjectNames};
use shared::codes::Code;
use shared::command::Refusal;
use shared::ids::CallId;
use shared::operation::PageRequest;

use super::planner::{Plan, Planner};

/// A page is written into an item of the table and read by a function whose answer is bounded, too.
const PAGE_BYTES: usize = 200_000;
/// What a page may hold however much is asked for.
const PAGE_ITEMS: u16 = 200;

impl Planner<'_> {
    /// Those who are at home here. The others are in the list of their own PBX.
    pub(super) fn users(&self, page: &PageRequest) -> Result<Plan, Refusal> {
        let users = self.session.at_home().filter(|user| self.reach.covers(&self.session.names_of(user)));
        let users = users.map(|user| ((user.info.e164.clone(), user.info.cn.clone()), user));
        let (users, next) = cut(users.collect(), page, |user| Some(user.describe(&self.session.names_of(user))))?;
        Ok(Plan::Answer(json!({"users": users, "nextCursor": next})))
    }

    pub(super) fn user(&self, address: &str) -> Result<Plan, Refusal> {
        let user = match self.user_at("the user", address) {
            Err(Refusal { code: Code::ExtensionNotAllowed, .. }) => None,
            found => found?,
        };
        let user = user.ok_or(Code::UserNotFound)?;
        Ok(Plan::Answer(json!({"user": user.describe(&self.session.names_of(user))})))
    }

    /// The calls of everybody or of one user or queue, oldest first.
    pub(super) fn calls(&self, address: Option<&str>, page: &PageRequest) -> Result<Plan, Refusal> {
        if let Some(address) = address {
            self.user_at("parameter `extension`", address)?;
        }
        let is_meant = |own: &ObjectNames<'_>| address.is_none_or(|address| own.answers_to(Address::read(address)));
        let wanted =
            |call: CallId| self.calls.names_of(call).is_some_and(|own| self.reach.covers(&own) && is_meant(&own));
        let calls = self.calls.all().filter(|(call, _)| wanted(*call));
        let calls = calls.map(|(call, start)| ((start.as_millisecond(), call), call));
        let (calls, next) = cut(calls.collect(), page, |call| self.calls.describe(*call, self.now))?;
        Ok(Plan::Answer(json!({"calls": calls, "nextCursor": next})))
    }

    pub(super) fn call(&self, call: CallId) -> Result<Plan, Refusal> {
        let in_reach = self.calls.names_of(call).is_some_and(|names| self.reach.covers(&names));
        let call = self.calls.describe(call, self.now).filter(|_| in_reach).ok_or(Code::CallNotFound)?;
        Ok(Plan::Answer(json!({"call": call})))
    }
}

/// The part of a list that a page shows, and where the next one goes on.
///
/// A cursor is the key of the last item shown, not its place in the list, so that nothing is skipped or shown twice when
/// others come and go meanwhile.
fn cut<K, T>(
    mut items: Vec<(K, T)>,
    page: &PageRequest,
    show: impl Fn(&T) -> Option<Value>,
) -> Result<(Vec<Value>, Option<String>), Refusal>
where
    K: Ord + Serialize + DeserializeOwned,
{
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(cursor) = &page.cursor {
        let after: K = open_cursor(cursor).ok_or_else(|| {
            Refusal::with_detail(Code::InvalidRequest, "parameter `cursor`: use `nextCursor` of an earlier answer")
        })?;
        items.retain(|(key, _)| *key > after);
    }
    let limit = usize::from(page.limit.clamp(1, PAGE_ITEMS));
    let (mut shown, mut bytes) = (Vec::new(), 0);
    let mut last = None;
    for (key, item) in &items {
        let Some(value) = show(item) else { continue };
        bytes += value.to_string().len() + 1;
        if shown.len() == limit || (bytes > PAGE_BYTES && !shown.is_empty()) {
            return Ok((shown, last.map(seal_cursor)));
        }
        shown.push(value);
        last = Some(key);
    }
    Ok((shown, None))
}

fn seal_cursor<K: Serialize>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(json!(key).to_string())
}

fn open_cursor<K: DeserializeOwned>(cursor: &str) -> Option<K> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: u32) -> Vec<(u32, u32)> {
        (0..count).rev().map(|n| (n, n)).collect()
    }

    fn page(cursor: Option<String>, limit: u16) -> PageRequest {
        PageRequest { cursor, limit }
    }

    #[test]
    fn pages_follow_each_other_whoever_comes_and_goes() {
        let show = |n: &u32| Some(json!(n));
        let (first, next) = cut(names(5), &page(None, 2), show).expect("a page");
        assert_eq!(first, [json!(0), json!(1)]);
        // 1 has gone, and 2 is another one.
        let rest = vec![(0, 0), (2, 20), (3, 3), (4, 4)];
        let (second, next) = cut(rest, &page(next, 2), show).expect("a page");
        assert_eq!(second, [json!(20), json!(3)]);
        let (third, next) = cut(names(5), &page(next, 2), show).expect("a page");
        assert_eq!((third, next), (vec![json!(4)], None));
        let (all, next) = cut(names(5), &page(None, 5), show).expect("a page");
        assert_eq!((all.len(), next), (5, None));
        assert_eq!(cut(names(0), &page(None, 5), show).expect("a page"), (vec![], None));
    }

    #[test]
    fn page_stays_small_and_never_empty() {
        let long = "x".repeat(60_000);
        let (shown, next) = cut(names(5), &page(None, 5), |_| Some(json!(long))).expect("a page");
        assert_eq!((shown.len(), next.is_some()), (3, true));
        let huge = "x".repeat(PAGE_BYTES);
        let (shown, next) = cut(names(2), &page(None, 5), |_| Some(json!(huge))).expect("a page");
        assert_eq!((shown.len(), next.is_some()), (1, true));
    }

    #[test]
    fn foreign_cursor_is_refused() {
        for cursor in ["", "x", "bm90IGpzb24", &seal_cursor(&"text")] {
            let refused = cut(names(2), &page(Some((*cursor).to_owned()), 2), |n| Some(json!(n)));
            assert_eq!(refused.expect_err("refused").code, Code::InvalidRequest, "{cursor}");
        }
    }
}
