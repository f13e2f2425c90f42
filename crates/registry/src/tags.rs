//! Tag lists: reading one page without ever holding more than the limits allow.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use windlass_model::Tag;

use crate::error::Cause;

/// The tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagList {
    /// Bytewise sorted, each once, whatever order the registry gave.
    pub tags: Vec<Tag>,
    /// How many entries were skipped because they are not valid tags. Empty strings, which some registries list, are
    /// skipped without being counted.
    pub invalid: usize,
}

/// How much of a tag list is read before it is an error. A list is whole or it is an error, never cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagLimits {
    /// Pages of one list.
    pub pages: usize,
    /// Entries of one list, all pages together.
    pub tags: usize,
    /// Bytes of one page.
    pub page_bytes: usize,
}

impl Default for TagLimits {
    /// 1,000,000 tags in 10,000 pages, each of at most 32 MiB: a registry that pages by 100, as ECR does, can list all.
    fn default() -> Self {
        Self { pages: 10_000, tags: 1_000_000, page_bytes: 32 << 20 }
    }
}

/// Gathers the pages of one list.
pub(crate) struct Gathering {
    list: TagList,
    entries: usize,
    max_entries: usize,
}

impl Gathering {
    pub(crate) fn new(limits: &TagLimits) -> Self {
        Self { list: TagList::default(), entries: 0, max_entries: limits.tags }
    }

    /// Adds the tags of one page: `{"name": …, "tags": [ … ] or null}`.
    pub(crate) fn page(&mut self, body: &[u8]) -> Result<(), Cause> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = Page(self).deserialize(&mut json).and_then(|()| json.end());
        if self.entries > self.max_entries {
            return Err(Cause::TooLarge(format!("the tag list has more than {} entries", self.max_entries)));
        }
        // The parser's own words may quote the body, which nobody vouches for; the place is enough.
        read.map_err(|error| {
            Cause::Invalid(format!(
                "the answer is not a tag list (line {}, column {})",
                error.line(),
                error.column()
            ))
        })
    }

    pub(crate) fn finish(mut self) -> TagList {
        self.list.tags.sort_unstable();
        self.list.tags.dedup();
        self.list
    }

    fn entry(&mut self, text: &str) {
        match Tag::parse(text) {
            Ok(tag) => self.list.tags.push(tag),
            Err(_) if text.is_empty() => {}
            Err(_) => self.list.invalid += 1,
        }
    }
}

/// The page's object.
struct Page<'a>(&'a mut Gathering);

impl<'de> DeserializeSeed<'de> for Page<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Page<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `tags`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(Text(key)) = map.next_key()? {
            if key == "tags" {
                found = true;
                map.next_value_seed(Tags(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        // An error envelope sent with status 200 must not read as an empty repository.
        if found { Ok(()) } else { Err(A::Error::missing_field("tags")) }
    }
}

/// The page's `tags`: a list, or null where a repository has only untagged manifests (GHCR).
struct Tags<'a>(&'a mut Gathering);

impl<'de> DeserializeSeed<'de> for Tags<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings, or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(Text(text)) = entries.next_element()? {
            self.0.entries += 1;
            if self.0.entries > self.0.max_entries {
                return Err(A::Error::custom("too many tags"));
            }
            self.0.entry(&text);
        }
        Ok(())
    }
}

/// A string, borrowed from the body where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pages: &[&str], max: usize) -> Result<TagList, Cause> {
        let mut gathering = Gathering::new(&TagLimits { tags: max, ..TagLimits::default() });
        for page in pages {
            gathering.page(page.as_bytes())?;
        }
        Ok(gathering.finish())
    }

    fn names(list: &TagList) -> Vec<&str> {
        list.tags.iter().map(Tag::as_str).collect()
    }

    #[test]
    fn pages_are_joined_sorted_and_each_tag_kept_once() {
        let list = read(
            &[r#"{"name":"a","tags":["2.0","1.0"]}"#, r#"{"tags":["1.0","\u0031.5"],"x":{"tags":[1]}}"#],
            9,
        );
        let list = list.unwrap();
        assert_eq!((names(&list), list.invalid), (vec!["1.0", "1.5", "2.0"], 0));
    }

    #[test]
    fn null_and_empty_lists_and_empty_tags_are_fine_and_invalid_tags_are_counted() {
        for (body, tags, invalid) in [
            (r#"{"tags":null}"#, vec![], 0),
            (r#"{"tags":[]}"#, vec![], 0),
            (r#"{"tags":["","a",""]}"#, vec!["a"], 0),
            (r#"{"tags":["-a","b c","sha256:00","ok"]}"#, vec!["ok"], 3),
        ] {
            let list = read(&[body], 9).unwrap();
            assert_eq!((names(&list), list.invalid), (tags, invalid), "{body}");
        }
    }

    #[test]
    fn what_is_no_tag_list_is_an_error_and_is_not_quoted() {
        for body in [
            "",
            "<html>hunter22",
            "[]",
            "{}",
            r#"{"errors":[{"code":"UNKNOWN"}]}"#,
            r#"{"tags":"hunter22"}"#,
            r#"{"tags":[1]}"#,
            r#"{"tags":[null]}"#,
            r#"{"tags":["a"#,
            r#"{"tags":["a"]} trailing"#,
        ] {
            let cause = read(&[body], 9).unwrap_err();
            assert!(matches!(cause, Cause::Invalid(_)), "{body}: {cause}");
            assert!(!cause.to_string().contains("hunter22"), "{cause}");
        }
    }

    #[test]
    fn a_list_past_the_limit_is_an_error_across_pages() {
        assert!(read(&[r#"{"tags":["a","b"]}"#, r#"{"tags":["c"]}"#], 3).is_ok());
        for pages in [&[r#"{"tags":["a","b"]}"#, r#"{"tags":["c","d"]}"#][..], &[r#"{"tags":["","","",""]}"#]]
        {
            assert!(matches!(read(pages, 3), Err(Cause::TooLarge(_))), "{pages:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(body in any::<Vec<u8>>(), text in "\\PC{0,60}") {
            let mut gathering = Gathering::new(&TagLimits::default());
            let _ = gathering.page(&body);
            let _ = gathering.page(format!("{{\"tags\":{text}}}").as_bytes());
        }
    }
}
