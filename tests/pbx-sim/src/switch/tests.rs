//! The rules of the switch without a socket: what each party is told, in order.

use serde_json::Value;

use super::*;

struct Bench {
    switch: Switch,
    heard: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        Self { switch: Switch::new(&World::default(), 1), heard: Vec::new() }
    }

    fn user(&self, extension: &str) -> ObjectId {
        self.switch.find_extension(extension).expect("extension of the default world")
    }

    fn dial(&mut self, from: &str, to: &str) -> LegId {
        self.switch.dial(self.user(from), Dial::number(to)).expect("a registered phone")
    }

    fn leg(&self, extension: &str, which: Which) -> LegId {
        self.switch.find_leg(&Whose::Object(self.user(extension)), which, None, None).expect("a leg")
    }

    /// Everything since the last time, as `extension msg(state)`.
    fn events(&mut self) -> String {
        self.heard.clear();
        for output in self.switch.drain() {
            if let Output::Leg(event) = output {
                let who = if event.own.e164.is_empty() { "trunk" } else { &event.own.e164 };
                self.heard.push(format!("{who} {}({})", event.msg, event.state));
            }
        }
        self.heard.join(", ")
    }
}

#[test]
fn an_internal_call_from_setup_to_the_end() {
    let mut bench = Bench::new();
    let a = bench.dial("42", "44");
    assert_eq!(bench.events(), "42 x-setup(1), 44 r-setup(129), 42 r-call-proc(3), 44 x-alert(132), 42 r-alert(4)");
    let b = bench.leg("44", Which::Ringing);
    bench.switch.answer(b).expect("it rings");
    assert_eq!(bench.events(), "44 x-conn(133), 42 r-conn(5)");
    assert_eq!(bench.switch.calls_json()[0]["legs"][0]["connectedTo"][0], "44");
    bench.switch.clear(a, 16).expect("it is there");
    assert_eq!(bench.events(), "42 x-rel(7), 44 r-rel(134), 42 del(7), 44 del(134)");
    assert!(bench.switch.calls_json().is_empty());
}

#[test]
fn the_losing_phone_of_a_user_ends_with_cause_26() {
    let mut bench = Bench::new();
    bench.dial("42", "43");
    bench.events();
    let rings = bench.leg("43", Which::Ringing);
    bench.switch.answer(rings).expect("it rings");
    let causes: Vec<_> = bench
        .switch
        .drain()
        .into_iter()
        .filter_map(|output| match output {
            Output::Leg(event) if event.msg == "r-rel" => event.cause,
            _ => None,
        })
        .collect();
    assert_eq!(causes, [26]);
}

#[test]
fn a_failed_call_lingers_and_ends_by_itself_sooner_for_a_queue_than_for_a_phone() {
    let mut bench = Bench::new();
    let phone = bench.dial("42", "99");
    assert_eq!(bench.events(), "42 x-setup(1), 42 r-disc(6)");
    bench.switch.advance(Duration::from_secs(15));
    assert_eq!(bench.events(), "");
    bench.switch.clear(phone, 16).expect("the tone is heard");
    assert_eq!(bench.events(), "42 x-rel(7), 42 del(7)");

    // Nobody stays on a phone with a busy tone for ever.
    bench.dial("42", "42");
    assert_eq!(bench.switch.load(bench.user("42")), (1, 0));
    bench.events();
    bench.switch.advance(Duration::from_secs(40));
    assert_eq!((bench.events().as_str(), bench.switch.load(bench.user("42"))), ("42 x-rel(7), 42 del(7)", (0, 0)));

    bench.dial("77", "99");
    assert_eq!(bench.events(), "77 x-setup(1), 77 r-disc(6)");
    bench.switch.advance(Duration::from_secs(3700));
    assert_eq!(bench.events(), "77 x-rel(7), 77 del(7)");
}

#[test]
fn a_transfer_keeps_the_older_conference_id() {
    for swapped in [false, true] {
        let mut bench = Bench::new();
        let first = bench.dial("44", "42");
        let b1 = bench.leg("42", Which::Ringing);
        bench.switch.answer(b1).expect("it rings");
        let conf = bench.switch.snapshot(first).expect("a leg").conf;
        let b2 = bench.dial("42", "50");
        let c = bench.leg("50", Which::Ringing);
        bench.switch.answer(c).expect("it rings");
        bench.events();
        let (a, b) = if swapped { (b2, b1) } else { (b1, b2) };
        bench.switch.transfer(a, b).expect("two calls of 42");
        for leg in [first, c] {
            assert_eq!(bench.switch.snapshot(leg).expect("a leg").conf, conf);
        }
        assert_eq!(bench.switch.snapshot(first).expect("a leg").peer.e164, "50");
        assert_eq!(bench.switch.snapshot(c).expect("a leg").peer.e164, "44");
        let events = bench.events();
        assert!(events.ends_with("r-ct(133), 42 del(134), 42 del(6)") || swapped, "{events}");
        bench.switch.clear(c, 16).expect("it is connected");
        assert!(bench.switch.calls_json().is_empty());
    }
}

#[test]
fn a_queue_joins_two_callees_of_its_own() {
    let mut bench = Bench::new();
    let (a, b) = (bench.dial("77", "50"), bench.dial("77", "44"));
    for extension in ["50", "44"] {
        let rings = bench.leg(extension, Which::Ringing);
        bench.switch.answer(rings).expect("it rings");
    }
    bench.events();
    bench.switch.transfer(a, b).expect("two calls of the queue");
    assert_eq!(bench.events(), "77 r-rel(6), 77 r-rel(6), 50 r-ct(133), 44 r-ct(133), 77 del(6), 77 del(6)");
    let calls = bench.switch.calls_json();
    assert_eq!((calls.len(), &calls[0]["legs"][0]["connectedTo"][0]), (1, &Value::from("44")));
}

#[test]
fn a_queue_offers_a_call_to_the_same_operator_again() {
    let mut bench = Bench::new();
    let caller = bench.switch.external("32472591687");
    let queue = bench.user("78");
    bench.switch.incoming(caller, queue);
    bench.switch.advance(Duration::from_secs(1));
    bench.events();
    let first = bench.leg("42", Which::Ringing);
    let conf = bench.switch.snapshot(first).expect("a leg").conf;
    bench.switch.advance(Duration::from_secs(11));
    assert!(bench.events().contains("42 r-rel(134)"));
    bench.switch.advance(Duration::from_secs(14));
    let second = bench.leg("42", Which::Ringing);
    assert_ne!(first, second);
    assert_eq!(bench.switch.snapshot(second).expect("a leg").conf, conf);
    assert_eq!(bench.switch.snapshot(second).expect("a leg").no[0].kind, "leg2");
    bench.switch.answer(second).expect("it rings");
    assert_eq!(bench.switch.snapshot(second).expect("a leg").peer.e164, "00032472591687");
    bench.switch.clear(second, 16).expect("it is connected");
    assert!(bench.switch.calls_json().is_empty(), "the queue's own leg ends with the call");
}

#[test]
fn nothing_is_left_behind_whatever_happens() {
    // A small random walk: every operation on every leg, then everybody hangs up.
    let mut seed = 7u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap_or_default() % below
    };
    let extensions = ["42", "43", "44", "50", "60", "77", "78", "00032472591687", "99"];
    let mut bench = Bench::new();
    for step in 0..5_000u64 {
        let legs = bench.switch.all_legs();
        let leg = |n: usize| legs.get(n % legs.len().max(1)).copied().unwrap_or(LegId(0));
        let (one, two, to) = (leg(random(64)), leg(random(64)), extensions[random(9)]);
        // Most of these are refused, which is the point: a refusal must not leave anything half done.
        match random(9) {
            0 => {
                let _refused = bench.switch.dial(bench.user(extensions[random(7)]), Dial::number(to));
            }
            1 | 2 => {
                let _refused = bench.switch.answer(one);
            }
            3 => {
                let _refused = bench.switch.clear(one, [16, 17, 21][random(3)]);
            }
            4 => {
                let _refused = bench.switch.transfer(one, two);
            }
            5 => {
                let _refused = bench.switch.redirect(one, Destination::E164(to.to_owned()), true);
            }
            6 => {
                let _refused = bench.switch.park(one, None, None);
            }
            7 => {
                let _refused = bench.switch.pickup(bench.user(extensions[random(5)]), None, &Pickup::Leg(one));
            }
            _ => {
                let _refused = bench.switch.hold(one);
            }
        }
        bench.switch.advance(Duration::from_millis(step * 500));
        for call in bench.switch.calls.values() {
            assert!(call.legs.contains(&call.left), "step {step}: {call:?}");
            assert!(call.right.is_none_or(|right| call.legs.contains(&right) && right != call.left), "step {step}");
            assert!(call.legs.iter().all(|leg| bench.switch.legs[leg].call == call.id), "step {step}");
        }
        assert!(bench.switch.legs.values().all(|leg| bench.switch.calls.contains_key(&leg.call)), "step {step}");
        bench.switch.drain();
    }
    while let Some(leg) = bench.switch.all_legs().first() {
        bench.switch.clear(*leg, 16).expect("a listed leg exists");
    }
    assert!(bench.switch.calls.is_empty());
}
