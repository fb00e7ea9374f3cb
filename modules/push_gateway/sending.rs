//! The way of a notification to its service: bounded in number, tried again where it makes sense, answered once.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waxwing_core::limits::Count;
use waxwing_core::module::Context;
use waxwing_core::refusal::{ErrorType, Refusal};

use crate::counters::Counters;
use crate::devices::{Device, Target};
use crate::outcome::Outcome;
use crate::services::Services;
use crate::settings::Settings;
use crate::store::Store;
use crate::summary::Summary;
use crate::web_push::origin;

/// The first pause when the service names none; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Of how many services it is remembered that they want to be left alone.
const SERVICES: usize = 1_000;

/// Tells whoever has published what has become of it.
pub type Reply = Box<dyn FnOnce(Result<(), Refusal>) -> BoxFuture<'static, ()> + Send>;

/// Sends notifications.
pub struct Sender {
    context: Context,
    services: Services,
    store: Store,
    counters: Arc<Counters>,
    /// One permit for each notification that is on its way.
    waiting: Arc<Semaphore>,
    /// One permit for each request.
    requests: Semaphore,
    attempts: usize,
    longest_pause: Duration,
    first_pause: Duration,
    /// Until when a service wants to be left alone.
    pauses: Cache<String, Instant, quick_cache::UnitWeighter, RandomState>,
    /// The newest notification of each node that is on its way: an older one that waits is not worth sending.
    newest: Mutex<HashMap<String, u64>>,
}

/// What is to be done after an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing.
    Finish(Result<(), Refusal>),
    /// The device is gone.
    Remove,
    /// Try again after this pause.
    Again(Duration),
    /// It has been tried often enough, or the service wants a longer pause than we keep a notification.
    GiveUp,
}

impl Sender {
    /// A sender for these services.
    pub fn new(
        context: Context,
        services: Services,
        store: Store,
        counters: Arc<Counters>,
        settings: &Settings,
    ) -> Sender {
        let permits = |count: Count| count.get().clamp(1, Semaphore::MAX_PERMITS);
        Sender {
            context,
            services,
            store,
            counters,
            waiting: Arc::new(Semaphore::new(permits(settings.waiting))),
            requests: Semaphore::new(permits(settings.requests)),
            attempts: settings.attempts.get().max(1),
            longest_pause: settings.longest_pause.get(),
            first_pause: FIRST_PAUSE.min(settings.longest_pause.get()),
            pauses: Cache::with(
                SERVICES,
                SERVICES as u64,
                quick_cache::UnitWeighter,
                RandomState::new(),
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            newest: Mutex::default(),
        }
    }

    /// The services.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Takes a notification on its way. `reply` is called once: when the service has taken it, when it was refused, or
    /// when it will be tried again.
    ///
    /// # Errors
    /// `resource-constraint` when too many are on their way; then `reply` is not called.
    pub fn send(self: &Arc<Sender>, device: Device, summary: Summary, reply: Reply) -> Result<(), Refusal> {
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            self.counters.dropped.inc();
            return Err(Refusal::resource_constraint().saying("too many notifications are on their way"));
        };
        let number = self.begin(&device.node);
        let sender = self.clone();
        let stopped = self.context.house().stopped();
        self.context.house().tasks().spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = sender.deliver(&device, &summary, number, reply, permit) => {}
            }
            sender.end(&device.node, number);
        });
        Ok(())
    }

    async fn deliver(
        &self,
        device: &Device,
        summary: &Summary,
        number: u64,
        reply: Reply,
        permit: OwnedSemaphorePermit,
    ) {
        let mut reply = Some(reply);
        let service = destination(device);
        for attempt in 1..=self.attempts {
            if let Some(pause) = self.pause_of(&service) {
                // Taken, and sent when the service wants to hear from us again.
                answer(&mut reply, Ok(())).await;
                tokio::time::sleep(pause).await;
                if !self.is_newest(&device.node, number) {
                    break;
                }
            }
            let outcome = match self.requests.acquire().await {
                Ok(_request) => self.services.send(device, summary).await,
                Err(_) => break,
            };
            match self.judge(outcome, attempt, device, &service) {
                Next::Finish(told) => {
                    answer(&mut reply, told).await;
                    break;
                }
                Next::Remove => {
                    let removed = self.store.remove_dead(device).await;
                    let told = match removed {
                        Ok(()) => Refusal::item_not_found().saying("the device is not registered any more"),
                        Err(error) => error.into(),
                    };
                    answer(&mut reply, Err(told)).await;
                    break;
                }
                Next::GiveUp => {
                    let told = Refusal::resource_constraint().saying("the service does not take notifications now");
                    answer(&mut reply, Err(told)).await;
                    break;
                }
                Next::Again(pause) => {
                    answer(&mut reply, Ok(())).await;
                    tokio::time::sleep(pause).await;
                    if !self.is_newest(&device.node, number) {
                        self.counters.superseded.inc();
                        break;
                    }
                }
            }
        }
        drop(permit);
    }

    fn judge(&self, outcome: Outcome, attempt: usize, device: &Device, service: &str) -> Next {
        let name = device.target.service().name();
        match outcome {
            Outcome::Delivered => {
                self.counters.delivered(device.target.service());
                Next::Finish(Ok(()))
            }
            Outcome::Gone => {
                self.counters.gone.inc();
                Next::Remove
            }
            Outcome::Refused(reason) => {
                self.counters.refused.inc();
                tracing::warn!(service = name, reason, "push_gateway.refused");
                let told = Refusal::service_unavailable().of_type(ErrorType::Wait);
                Next::Finish(Err(told.saying("the service has refused the notification")))
            }
            Outcome::Later(wanted) => {
                let next = next_pause(wanted, attempt, self.attempts, self.first_pause, self.longest_pause);
                if let (Some(pause), Some(_)) = (next, wanted) {
                    self.pauses.insert(service.to_owned(), Instant::now() + pause);
                }
                tracing::debug!(service = name, attempt, again = next.is_some(), "push_gateway.not_now");
                match next {
                    Some(pause) => {
                        self.counters.retried.inc();
                        Next::Again(pause)
                    }
                    None => {
                        self.counters.dropped.inc();
                        Next::GiveUp
                    }
                }
            }
        }
    }

    fn pause_of(&self, service: &str) -> Option<Duration> {
        let left = self.pauses.get(service)?.checked_duration_since(Instant::now());
        if left.is_none() {
            self.pauses.remove(service);
        }
        left
    }

    fn begin(&self, node: &str) -> u64 {
        let mut newest = self.newest.lock();
        let number = newest.entry(node.to_owned()).or_default();
        *number += 1;
        *number
    }

    fn is_newest(&self, node: &str, number: u64) -> bool {
        self.newest.lock().get(node) == Some(&number)
    }

    fn end(&self, node: &str, number: u64) {
        let mut newest = self.newest.lock();
        if newest.get(node) == Some(&number) {
            newest.remove(node);
        }
    }
}

async fn answer(reply: &mut Option<Reply>, told: Result<(), Refusal>) {
    if let Some(reply) = reply.take() {
        reply(told).await;
    }
}

/// What wants to be left alone when a service says so.
fn destination(device: &Device) -> String {
    match &device.target {
        Target::Web { endpoint, .. } => {
            endpoint.parse().ok().and_then(|uri| origin(&uri)).unwrap_or_else(|| endpoint.clone())
        }
        // Apple and Google complain about one device.
        Target::Apns { .. } | Target::Fcm { .. } => device.node.clone(),
    }
}

/// How long to wait until the next attempt; `None` when there is none.
fn next_pause(
    wanted: Option<Duration>,
    attempt: usize,
    attempts: usize,
    first: Duration,
    longest: Duration,
) -> Option<Duration> {
    if attempt >= attempts {
        return None;
    }
    match wanted {
        Some(wanted) if wanted > longest => None,
        Some(wanted) => Some(wanted.max(Duration::from_secs(1).min(longest))),
        None => {
            let doublings = u32::try_from(attempt - 1).unwrap_or(u32::MAX).min(16);
            Some(first.saturating_mul(1 << doublings).min(longest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let seconds = Duration::from_secs;
        let pause = |wanted: Option<u64>, attempt| next_pause(wanted.map(seconds), attempt, 5, seconds(5), seconds(30));
        assert_eq!([1, 2, 3, 4].map(|attempt| pause(None, attempt).unwrap().as_secs()), [5, 10, 20, 30]);
        assert_eq!(pause(None, 5), None);
        assert_eq!(pause(Some(7), 1), Some(seconds(7)));
        assert_eq!(pause(Some(0), 1), Some(seconds(1)), "never at once");
        assert_eq!(pause(Some(31), 1), None, "it would be kept longer than anything is");
    }
}
