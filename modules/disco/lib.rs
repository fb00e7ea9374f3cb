//! disco
