//! The app driven as a person would, without a window: `egui_kittest` clicks and types, and paints on whatever adapter there is.
//!
//! With `SMALTI_PICTURES=FOLDER` the pictures that the tests look at are kept there.

mod augment;
mod checkpoint;
mod config;
mod data;
mod detect;
mod device;
mod frame;
mod masks;
mod model;
mod narrow;
#[path = "../../../tests/window/squares.rs"]
mod squares;
mod train;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eframe::egui::{self, Theme, ViewportId};
use egui_kittest::Harness;

use super::App;
use super::engine::Engine;
use super::native::Native;

/// A frame that is wanted within this time is waited for: longer than anything in the window waits before it shows something.
const SOON: Duration = Duration::from_millis(250);

/// A folder that goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "smalti-window-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Puts a file into it.
    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An app that a test drives.
pub struct Driven<'a> {
    pub harness: Harness<'a, Option<App>>,
}

/// How it is shown.
#[derive(Clone, Copy)]
pub struct Look {
    pub size: [f32; 2],
    pub scale: f32,
    pub theme: Theme,
}

pub const USUAL: Look = Look {
    size: [1280.0, 800.0],
    scale: 1.0,
    theme: Theme::Dark,
};

impl Driven<'_> {
    /// Opens files, with what is remembered in `data`.
    pub fn open(data: &Path, files: &[PathBuf], look: Look) -> Self {
        let (data, files) = (data.join("remembered"), files.to_vec());
        let mut settings = super::settings::Settings {
            device: "cpu".into(),
            ..Default::default()
        };
        settings.theme = if look.theme == Theme::Dark {
            super::settings::Theme::Dark
        } else {
            super::settings::Theme::Light
        };
        let host = Arc::new(Native::at(&data));
        if !data.join("settings.json").exists() {
            settings.save(&*host).unwrap();
        }
        let show = move |ui: &mut egui::Ui, app: &mut Option<App>| {
            let app = app
                .get_or_insert_with(|| App::new(ui.ctx(), host.clone(), Engine::default(), &files));
            app.show(ui);
            // a blinking caret never comes to rest
            ui.all_styles_mut(|style| style.visuals.text_cursor.blink = false);
        };
        let builder = Harness::builder()
            .with_size(look.size)
            .with_pixels_per_point(look.scale)
            .with_theme(look.theme)
            .with_max_steps(64)
            .wgpu();
        let mut driven = Self {
            harness: builder.build_ui_state(show, None),
        };
        driven.settle();
        driven
    }

    pub fn app(&mut self) -> &mut App {
        self.harness.state_mut().as_mut().unwrap()
    }

    /// Frames until no job runs and nothing is to come: some in a row in which nothing was begun and none wants another soon.
    pub fn settle(&mut self) {
        let (mut quiet, mut vain) = (0, 0);
        while quiet < 4 {
            self.until("jobs end", |app| {
                app.jobs.is_idle() && !app.session.is_reading()
            });
            let again = self.harness.output().viewport_output[&ViewportId::ROOT].repaint_delay;
            if again > SOON {
                quiet += 1;
            } else {
                (quiet, vain) = (0, vain + 1);
                let causes = self.harness.ctx.repaint_causes();
                assert!(vain < 20_000, "it never comes to rest: {causes:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Frames until something holds. A frame in which nothing else runs either is one in vain, and of those there are not many.
    pub fn until(&mut self, what: &str, holds: impl Fn(&mut App) -> bool) {
        let mut vain = 0;
        loop {
            self.harness.step();
            if holds(self.app()) {
                return;
            }
            vain += usize::from(self.app().jobs.is_idle());
            assert!(vain < 20_000, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The picture; kept for people if they want it.
    pub fn picture(&mut self, name: &str) -> Picture {
        let image = self.harness.render().expect("an adapter to paint on");
        if let Some(folder) = std::env::var_os("SMALTI_PICTURES") {
            image
                .save(Path::new(&folder).join(format!("{name}.png")))
                .unwrap();
        }
        Picture {
            rgba: image.into_raw(),
        }
    }

    /// Messages so far.
    pub fn said(&mut self) -> Vec<String> {
        self.app()
            .session
            .messages
            .all()
            .iter()
            .map(|m| m.text.clone())
            .collect()
    }
}

/// What was painted.
pub struct Picture {
    pub rgba: Vec<u8>,
}

impl Picture {
    /// How many colours there are in it.
    pub fn colors(&self) -> usize {
        let colors: std::collections::HashSet<&[u8]> = self.rgba.chunks(4).collect();
        colors.len()
    }
}
