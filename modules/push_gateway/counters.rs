//! What has become of all notifications, for whoever runs the server.

use waxwing_core::metrics::Counter;
use waxwing_core::module::Context;

use crate::devices::Service;

/// Counts since the start.
pub struct Counters {
    delivered: [Counter; Service::ALL.len()],
    /// A device was gone and its registration is removed.
    pub gone: Counter,
    /// A service did not want a notification.
    pub refused: Counter,
    /// A notification is tried again.
    pub retried: Counter,
    /// A notification was not tried again because there is a newer one.
    pub superseded: Counter,
    /// A notification was given up, or not taken because too many are on their way.
    pub dropped: Counter,
    /// An application has left something (UnifiedPush).
    pub left: Counter,
    /// A client has confirmed what an application has left.
    pub told: Counter,
}

impl Counters {
    /// The counters of a host.
    pub fn new(context: &Context) -> Counters {
        let counter = |name, about| context.counter(name, about);
        Counters {
            delivered: [
                counter("push_gateway_delivered_web", "Notifications that services of browsers have taken"),
                counter("push_gateway_delivered_apns", "Notifications that Apple has taken"),
                counter("push_gateway_delivered_fcm", "Notifications that Google has taken"),
            ],
            gone: counter("push_gateway_gone", "Registrations removed because their service knows the device no more"),
            refused: counter("push_gateway_refused", "Notifications that a service has refused"),
            retried: counter("push_gateway_retried", "Attempts that failed and are made again"),
            superseded: counter("push_gateway_superseded", "Notifications not tried again because of a newer one"),
            dropped: counter("push_gateway_dropped", "Notifications given up, or too many at a time"),
            left: counter("push_gateway_unified_left", "What applications have left for clients"),
            told: counter("push_gateway_unified_told", "What clients have confirmed of it"),
        }
    }

    /// A service has taken one.
    pub fn delivered(&self, service: Service) {
        self.delivered[service as usize].inc();
    }
}
