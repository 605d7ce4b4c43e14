//! temporary
use super::events::Listener;
use super::plan::Plan;
use crate::model::failure::Result;
use crate::trust::{Bundle, Verified};
pub const URL_FILE_NAME: &str = "release-url.txt";
#[derive(serde::Serialize)]
pub struct Publication {
    pub url: String,
    pub status: S,
}
#[derive(serde::Serialize, Clone, Copy)]
pub enum S {
    A,
}
impl S {
    pub fn as_str(self) -> &'static str {
        "a"
    }
}
pub fn publish(
    _b: &Verified<Bundle>,
    _p: &Plan,
    _t: &super::request::Publish,
    _l: &dyn Listener,
) -> Result<Publication> {
    unimplemented!()
}
