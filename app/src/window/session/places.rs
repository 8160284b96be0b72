//! Places of texts that were visited: back and forward.

use super::{Place, Session};
use crate::window::jobs::Jobs;

impl Session {
    /// Goes to a place, which [`Self::back`] comes back from.
    pub fn go(&mut self, jobs: &mut Jobs, place: &Place) {
        self.here();
        let (places, at) = &mut self.places;
        places.truncate(*at);
        places.push(place.clone());
        *at = places.len();
        self.open_at(jobs, &place.path.clone(), Some(place.range.clone()));
    }

    /// Notes where the caret is, so that one can come back.
    pub(super) fn here(&mut self) {
        let Some(document) = self.documents.active() else {
            return;
        };
        let here = Place {
            path: document.path.clone(),
            range: document.caret..document.caret,
        };
        let (places, at) = &mut self.places;
        let near = |p: &Place| {
            let (around, at) = (
                p.range.start.saturating_sub(40)..p.range.end + 40,
                here.range.start,
            );
            p.path == here.path && around.contains(&at)
        };
        if *at == places.len() && !places.last().is_some_and(near) {
            places.push(here);
            *at = places.len();
        }
    }

    /// To the place before (-1) or after (1) in the order in which they were visited.
    pub fn visit(&mut self, jobs: &mut Jobs, by: isize) {
        if by < 0 {
            self.here();
        }
        let (places, at) = &mut self.places;
        let to = at.saturating_add_signed(by);
        if to == 0 || to > places.len() {
            return;
        }
        *at = to;
        let place = places[to - 1].clone();
        self.open_at(jobs, &place.path, Some(place.range));
    }
}
