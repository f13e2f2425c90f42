//! One document while it is imported: its name, its `spec`, and what is told about it.

use std::cell::{Cell, RefCell};
use std::fmt;

use super::super::fields::Slot;
use super::super::node::Node;
use super::{Given, Remark, Weight};
use crate::guard::{GuardRules, ImageGlob};

/// A Guard before it is printed.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) images: Vec<ImageGlob>,
    pub(super) rules: GuardRules,
}

/// A document of a known kind.
pub(super) struct Policy<'n> {
    /// What its Guards are called: its name, after its namespace where it has one.
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) spec: Slot<'n>,
    pub(super) given: &'n Given<'n>,
    remarks: RefCell<Vec<Remark>>,
    refused: Cell<bool>,
}

impl<'n> Policy<'n> {
    /// Reads what is common; `None` where there is no `spec` or no name, which is reported.
    pub(super) fn open(root: &Slot<'n>, kind: &str, namespaced: bool, given: &'n Given<'n>) -> Option<Self> {
        let fields = root.fields(&["apiVersion", "kind", "metadata", "spec", "status"])?;
        let metadata = fields.required("metadata")?.open_fields()?;
        metadata.required("name")?.filled_text()?;
        let namespace = match metadata.slot("namespace") {
            Some(slot) => slot.filled_text()?.to_owned(),
            None => "default".to_owned(),
        };
        let name = full_name(root.node, namespaced);
        let spec = fields.required("spec")?;
        let policy =
            Self { name, namespace, spec, given, remarks: RefCell::default(), refused: Cell::new(false) };
        if namespaced && kind.ends_with("Policy") {
            policy.note(
                &policy.spec,
                "the Guard is for every namespace: a Guard counts by who writes the image",
            );
        }
        Some(policy)
    }

    /// There will be no Guard for this document.
    pub(super) fn refuse(&self, slot: &Slot<'_>, message: impl fmt::Display) {
        self.refused.set(true);
        self.tell(Weight::Refused, slot, message);
    }

    /// A part is left out.
    pub(super) fn leave_out(&self, slot: &Slot<'_>, message: impl fmt::Display) {
        self.tell(Weight::Dropped, slot, message);
    }

    /// Worth knowing.
    pub(super) fn note(&self, slot: &Slot<'_>, message: impl fmt::Display) {
        self.tell(Weight::Note, slot, message);
    }

    fn tell(&self, weight: Weight, slot: &Slot<'_>, message: impl fmt::Display) {
        let (field, message) = (slot.path.clone(), message.to_string());
        self.remarks.borrow_mut().push(Remark {
            origin: slot.origin(),
            object: String::new(),
            field,
            weight,
            message,
        });
    }

    /// What was told, and whether the document is refused.
    pub(super) fn into_remarks(self) -> (Vec<Remark>, bool) {
        (self.remarks.into_inner(), self.refused.get())
    }
}

/// An object's name, after its namespace where its kind has one and it is stated.
pub(super) fn full_name(node: &Node, namespaced: bool) -> String {
    let text = |key| node.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Node::scalar);
    match (text("namespace"), text("name").unwrap_or_default()) {
        (Some(namespace), name) if namespaced => format!("{namespace}-{name}"),
        (_, name) => name.to_owned(),
    }
}
