//! The content of a document on its way into or out of a transaction.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::PortError;

/// A document's content: as JSON text, which is what typed documents become and what a store on disk
/// keeps, or as a tree. Cheap to clone as text.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON text.
    Text(Arc<str>),
    /// The same, parsed.
    Tree(Value),
}

impl Body {
    /// The text of a serialisable document.
    ///
    /// # Errors
    /// The document does not serialise to JSON.
    pub fn of(document: &impl Serialize) -> Result<Self, PortError> {
        serde_json::to_string(document)
            .map(|text| Self::Text(text.into()))
            .map_err(PortError::corrupt)
    }

    /// The document as a `T`.
    ///
    /// # Errors
    /// It does not have that form.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        match self {
            Self::Text(text) => serde_json::from_str(text),
            Self::Tree(tree) => T::deserialize(tree),
        }
    }

    /// As text.
    ///
    /// # Errors
    /// A tree that JSON has no text for.
    pub fn into_text(self) -> Result<Arc<str>, PortError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Tree(tree) => serde_json::to_string(&tree)
                .map(Arc::from)
                .map_err(PortError::corrupt),
        }
    }

    /// As a tree.
    ///
    /// # Errors
    /// A text that is not JSON.
    pub fn into_tree(self) -> Result<Value, PortError> {
        match self {
            Self::Text(text) => serde_json::from_str(&text).map_err(PortError::corrupt),
            Self::Tree(tree) => Ok(tree),
        }
    }
}

impl From<Value> for Body {
    fn from(tree: Value) -> Self {
        Self::Tree(tree)
    }
}
