//! Ends a download of which too little comes for too long, in whatever way: silence, single bytes, answers without an end.
//!
//! The limits of the HTTP client are for one connection or one read. A server that keeps each of them can still hold us for ever,
//! so a thread beside the download closes its connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;

use ureq::Agent;

use super::Limits;

/// Told of what comes.
pub(super) struct Watch<'a> {
    limits: &'a Limits,
    enough: Sender<()>,
    fired: &'a AtomicBool,
    /// Bytes since the watch was last told that enough came.
    bytes: u64,
}

impl Watch<'_> {
    /// So many bytes came.
    pub fn feed(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= self.limits.least {
            self.bytes = 0;
            // The thread is gone when it has fired.
            let _ = self.enough.send(());
        }
    }

    /// Why the download was ended, if it was.
    pub fn fired(&self) -> Option<String> {
        let fired = self.fired.load(Ordering::SeqCst);
        fired.then(|| {
            format!(
                "fewer than {} bytes came within {:?}",
                self.limits.least, self.limits.patience
            )
        })
    }
}

/// Does `work` under watch.
pub(super) fn watched<T>(agent: &Agent, limits: &Limits, work: impl FnOnce(&mut Watch) -> T) -> T {
    let (enough, told) = mpsc::channel();
    let fired = AtomicBool::new(false);
    thread::scope(|scope| {
        // Without a thread the client's own limits are left.
        let _ = thread::Builder::new().spawn_scoped(scope, || {
            let told = told;
            loop {
                match told.recv_timeout(limits.patience) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        fired.store(true, Ordering::SeqCst);
                        agent.clone().shutdown();
                        return;
                    }
                }
            }
        });
        // Dropped in the end, also by a panic: then the thread ends.
        let mut watch = Watch {
            limits,
            enough,
            fired: &fired,
            bytes: 0,
        };
        work(&mut watch)
    })
}
