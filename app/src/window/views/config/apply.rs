//! A change of a value of the resolved config is a change of the text: where the value is said, if that is in the config in front, else by
//! an override there.

use std::path::PathBuf;

use smalti::config::Config;

use super::write;
use crate::window::document::Kind;
use crate::window::jobs::Jobs;
use crate::window::messages::Level;
use crate::window::session::{Place, Session};

/// Puts Python in the place of a value of `config`, which is what the text in front means as it is now; a key that its dict does not have
/// is added. False if the text cannot be changed so, which is told.
pub fn value(
    session: &mut Session,
    jobs: &mut Jobs,
    config: &Config,
    path: &str,
    new: &str,
    kind: Kind,
) -> bool {
    let Some(document) = session.documents.active() else {
        return false;
    };
    let (id, key, text) = (document.id, document.key(), document.text().to_owned());
    let node = config.at(path);
    let here = node.and_then(|node| write::where_said(node, new));
    let edit = match (here.filter(|edit| edit.file == key), node) {
        (Some(edit), _) => Ok(edit),
        (None, Some(_)) => write::overridden(config, &text, path, new),
        (None, None) => write::added(config, &text, path, new),
    };
    match edit {
        Ok(edit) => {
            session.edit(id, edit.range, &edit.text, kind);
            true
        }
        Err(why) => {
            session.tell(Level::Warning, format!("{path} was not changed: {why}"));
            let place = node.map(|node| Place {
                path: PathBuf::from(node.origin.file()),
                range: node.origin.range(),
            });
            if let Some(place) = place.filter(|place| place.path.is_absolute()) {
                session.go(jobs, &place);
            }
            false
        }
    }
}
