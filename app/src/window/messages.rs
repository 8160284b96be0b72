//! What the window tells by itself: toasts for some seconds, and a list of all.

use std::time::Duration;

/// How much somebody has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Done, but not as one might think.
    Warning,
    /// Not done. Stays until it is put away.
    Error,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// How much somebody has to know it.
    pub level: Level,
    /// What happened, and what to do next.
    pub text: String,
    /// When, since 1970.
    pub at: Duration,
    /// Whether it is no toast any more.
    pub away: bool,
    /// What its button does, if it has one.
    pub offer: Option<Offer>,
}

/// What can be done about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Take back the last edit.
    Undo,
    /// Open again what was closed.
    Reopen,
    /// Go on with the training that was cut off. Stays until it is taken or put away.
    Resume,
}

/// All messages of a window.
#[derive(Debug, Default)]
pub struct Messages {
    all: Vec<Message>,
}

/// How long a toast is shown.
const SHOWN: Duration = Duration::from_secs(4);
/// Toasts at a time.
const TOASTS: usize = 3;
/// Messages that are kept.
const KEPT: usize = 200;

impl Message {
    /// Whether it goes by itself.
    fn passes(&self) -> bool {
        self.level != Level::Error && self.offer != Some(Offer::Resume)
    }
}

impl Messages {
    /// Tells something; a message that is being shown is not said twice.
    pub fn tell(&mut self, level: Level, text: impl Into<String>, now: Duration) {
        let text = text.into();
        let mut shown = self.all.iter_mut().filter(|m| !m.away);
        if let Some(same) = shown.find(|m| m.text == text) {
            same.at = now;
            return;
        }
        self.all.push(Message {
            level,
            text,
            at: now,
            away: false,
            offer: None,
        });
        let surplus = self.all.len().saturating_sub(KEPT);
        self.all.drain(..surplus);
    }

    /// Gives the last message a button.
    pub fn offer(&mut self, offer: Offer) {
        if let Some(last) = self.all.last_mut() {
            last.offer = Some(offer);
        }
    }

    /// Puts those away that offer this: it was done.
    pub fn withdraw(&mut self, offer: Offer) {
        let all = self.all.iter_mut();
        all.filter(|m| m.offer == Some(offer))
            .for_each(|m| m.away = true);
    }

    /// All, oldest first.
    pub fn all(&self) -> &[Message] {
        &self.all
    }

    /// Puts one away.
    pub fn dismiss(&mut self, i: usize) {
        if let Some(message) = self.all.get_mut(i) {
            message.away = true;
        }
    }

    /// Those that are shown now, with their places among all, and the time until that changes.
    pub fn toasts(&mut self, now: Duration) -> (Vec<(usize, Message)>, Option<Duration>) {
        for message in self.all.iter_mut().filter(|m| m.passes()) {
            message.away |= now.saturating_sub(message.at) >= SHOWN;
        }
        let shown = self.all.iter().enumerate().filter(|(_, m)| !m.away);
        let mut shown: Vec<(usize, Message)> = shown.map(|(i, m)| (i, m.clone())).collect();
        let surplus = shown.len().saturating_sub(TOASTS);
        shown.drain(..surplus);
        let passing = shown.iter().filter(|(_, m)| m.passes());
        let next = passing
            .map(|(_, m)| SHOWN.saturating_sub(now.saturating_sub(m.at)))
            .min();
        (shown, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toasts_pass_and_errors_stay() {
        let (mut all, at) = (Messages::default(), Duration::from_secs);
        for (level, text) in [
            (Level::Error, "a"),
            (Level::Note, "b"),
            (Level::Note, "c"),
            (Level::Note, "d"),
            (Level::Note, "d"),
        ] {
            all.tell(level, text, at(10));
        }
        let (shown, next) = all.toasts(at(11));
        let texts: Vec<&str> = shown.iter().map(|(_, m)| m.text.as_str()).collect();
        assert_eq!((texts, next), (vec!["b", "c", "d"], Some(at(3))));
        let (shown, next) = all.toasts(at(14));
        assert_eq!(
            (shown.len(), shown[0].1.text.as_str(), next),
            (1, "a", None)
        );
        all.dismiss(shown[0].0);
        assert!(all.toasts(at(14)).0.is_empty());
        assert_eq!(all.all().len(), 4);
    }
}
