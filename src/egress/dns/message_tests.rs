// SPDX-License-Identifier: MIT
//! Any query is judged by its one question, and replies repeat it to the letter.

use proptest::prelude::*;

use super::*;

fn denial(name: &str) -> NameVerdict {
    NameVerdict::Denied(Denial {
        reason: "no".to_owned(),
        nearest: None,
        names: vec![name.to_owned()],
        allow_with: None,
    })
}

fn granted(name: &str) -> NameVerdict {
    if name == "a.example" || name.ends_with(".a.example") {
        NameVerdict::Granted
    } else {
        denial(name)
    }
}

fn message(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0xbeef;
    message.metadata.recursion_desired = true;
    let name = if name == "." {
        Name::root()
    } else {
        full_name(name).unwrap()
    };
    message.add_query(Query::query(name, kind));
    message
}

fn bytes(name: &str, kind: RecordType) -> Vec<u8> {
    message(name, kind).to_vec().unwrap()
}

/// The judgement in a word or two.
fn text(query: &[u8]) -> String {
    match judge(query, granted) {
        Judged::Drop => "drop".to_owned(),
        Judged::Malformed(reply) => {
            let reply = Message::from_vec(&reply).unwrap();
            format!("malformed {:?}", reply.response_code)
        }
        Judged::Refused(_, code) => format!("refused {code:?}"),
        Judged::Denied { denial, .. } => format!("denied {}", denial.names.join(",")),
        Judged::Empty(_) => "empty".to_owned(),
        Judged::Reverse { address, .. } => format!("reverse {address}"),
        Judged::Lookup { name, kind, .. } => format!("{kind:?} {name}"),
    }
}

#[test]
#[rustfmt::skip]
fn queries_are_judged() {
    for (name, kind, expected) in [
        ("a.example", RecordType::A, "V4 a.example"),
        ("A.eXample", RecordType::AAAA, "V6 a.example"),
        ("x.y.a.example", RecordType::A, "V4 x.y.a.example"),
        ("a.example", RecordType::TXT, "empty"),
        ("a.example", RecordType::HTTPS, "empty"),
        ("a.example", RecordType::ANY, "empty"),
        ("a.example", RecordType::AXFR, "empty"),
        ("a.example", RecordType::NULL, "empty"),
        ("b.example", RecordType::A, "denied b.example"),
        ("b.example", RecordType::TXT, "denied b.example"),
        ("xa.example", RecordType::A, "denied xa.example"),
        (".", RecordType::NS, "denied "),
        ("1.0.0.127.in-addr.arpa", RecordType::PTR, "reverse 127.0.0.1"),
        ("1.0.0.127.in-addr.arpa", RecordType::A, "denied 1.0.0.127.in-addr.arpa"),
        ("0.127.in-addr.arpa", RecordType::PTR, "denied 0.127.in-addr.arpa"),
        ("x.1.0.0.127.in-addr.arpa", RecordType::PTR, "denied x.1.0.0.127.in-addr.arpa"),
        ("a.example", RecordType::PTR, "empty"),
    ] {
        assert_eq!(text(&bytes(name, kind)), expected, "{name} {kind}");
    }
    let reversed = format!("1.{}ip6.arpa", "0.".repeat(31));
    assert_eq!(text(&bytes(&reversed, RecordType::PTR)), "reverse ::1");
}

#[test]
fn labels_with_other_bytes_are_nobodys() {
    // `x.a` as one label, in front of `example`: not a name below `a.example`.
    let mut query = Message::query();
    let name = Name::from_labels([b"x.a".as_slice(), b"example"]).unwrap();
    query.add_query(Query::query(name, RecordType::A));
    assert_eq!(text(&query.to_vec().unwrap()), "denied x\\046a.example");
    let mut query = Message::query();
    let name = Name::from_labels([b"x\0;\x1b".as_slice(), b"a", b"example"]).unwrap();
    query.add_query(Query::query(name, RecordType::A));
    let expected = "denied x\\000\\059\\027.a.example";
    assert_eq!(text(&query.to_vec().unwrap()), expected);
}

#[test]
fn what_is_no_plain_query_is_not_looked_at() {
    let change = |edit: &dyn Fn(&mut Message)| {
        let mut message = message("a.example", RecordType::A);
        edit(&mut message);
        text(&message.to_vec().unwrap())
    };
    assert_eq!(change(&|_| {}), "V4 a.example");
    assert_eq!(
        change(&|message| message.metadata.message_type = MessageType::Response),
        "drop"
    );
    assert_eq!(
        change(&|message| message.metadata.op_code = OpCode::Notify),
        "malformed NotImp"
    );
    let again = |message: &mut Message| {
        let query = message.queries[0].clone();
        message.add_query(query);
    };
    assert_eq!(change(&again), "malformed FormErr");
    assert_eq!(
        change(&|message| message.queries.clear()),
        "malformed FormErr"
    );
    let class = |message: &mut Message| {
        message.queries[0].set_query_class(DNSClass::CH);
    };
    assert_eq!(change(&class), "refused Refused");
    let answer = |message: &mut Message| {
        let name = message.queries[0].name().clone();
        let data = data_of("1.1.1.1".parse().unwrap());
        message.add_answer(Record::from_rdata(name, 1, data));
    };
    assert_eq!(change(&answer), "malformed FormErr");
    let version = |message: &mut Message| {
        let mut edns = Edns::new();
        edns.set_version(1);
        message.set_edns(edns);
    };
    assert_eq!(change(&version), "refused BADVERS");
    let query = bytes("a.example", RecordType::A);
    assert_eq!(text(&query[..11]), "drop");
    assert_eq!(text(&query[..query.len() - 1]), "malformed FormErr");
    let mut long = query.clone();
    long.resize(QUERY_LIMIT + 1, 0);
    assert_eq!(text(&long), "malformed FormErr");
    // Counts that lie must not make anybody allocate.
    let mut lying = query;
    lying[4..12].fill(0xff);
    assert_eq!(text(&lying), "malformed FormErr");
}

fn question(query: &Message) -> Question {
    match judge(&query.to_vec().unwrap(), granted) {
        Judged::Lookup { question, .. } => question,
        other => panic!("{other:?}"),
    }
}

#[test]
fn replies_repeat_the_question() {
    let question = question(&message("A.eXamPle", RecordType::A));
    let addresses = ["1.1.1.1".parse().unwrap(), "1.1.1.2".parse().unwrap()];
    let reply = question
        .reply(Answer::Addresses(&addresses, 60), 512)
        .unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.id, 0xbeef);
    assert_eq!(reply.message_type, MessageType::Response);
    assert!(reply.recursion_desired && reply.recursion_available);
    assert!(!reply.truncation && !reply.authoritative);
    assert_eq!(reply.queries[0].name().to_ascii(), "A.eXamPle.");
    assert_eq!(reply.answers.len(), 2);
    assert_eq!(reply.answers[1].name.to_ascii(), "A.eXamPle.");
    assert_eq!(reply.answers[1].ttl, 60);
    assert_eq!(reply.answers[1].data, data_of(addresses[1]));
    assert!(reply.edns.is_none());
    for (answer, code) in [
        (Answer::Empty, ResponseCode::NoError),
        (Answer::NoName, ResponseCode::NXDomain),
        (Answer::Failure, ResponseCode::ServFail),
    ] {
        let reply = Message::from_vec(&question.reply(answer, 512).unwrap()).unwrap();
        assert_eq!(reply.response_code, code);
        assert!(reply.answers.is_empty());
    }
}

#[test]
fn replies_fit() {
    let addresses: Vec<IpAddr> = (0..100_u8).map(|last| [10, 0, 0, last].into()).collect();
    let answer = Answer::Addresses(&addresses, 60);
    let plain = message("a.example", RecordType::A);
    let with_payload = |payload: u16| {
        let mut message = plain.clone();
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
        question(&message)
    };
    let question = question(&plain);
    assert_eq!(question.udp_limit(), 512);
    let reply = question.reply(answer, question.udp_limit()).unwrap();
    let parsed = Message::from_vec(&reply).unwrap();
    assert!(parsed.truncation && parsed.answers.is_empty());
    let reply = Message::from_vec(&question.reply(answer, TCP_LIMIT).unwrap()).unwrap();
    assert!(!reply.truncation);
    assert_eq!(reply.answers.len(), 100);
    let large = with_payload(4096);
    let reply = Message::from_vec(&large.reply(answer, large.udp_limit()).unwrap()).unwrap();
    assert_eq!(reply.answers.len(), 100);
    assert!(reply.edns.is_some());
    assert_eq!(with_payload(65_535).udp_limit(), 4096);
    assert_eq!(with_payload(0).udp_limit(), 512);
}

proptest! {
    #[test]
    fn any_bytes_are_judged(data in any::<Vec<u8>>()) {
        fuzz_message(&data);
    }

    #[test]
    fn bytes_behind_a_header_are_judged(data in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(data);
        fuzz_message(&query);
    }

    #[test]
    fn damaged_queries_are_judged(place in 0..40_usize, byte in any::<u8>(), cut in 0..40_usize) {
        let mut message = message("x.a.example", RecordType::AAAA);
        message.set_edns(Edns::new());
        let mut query = message.to_vec().unwrap();
        if let Some(old) = query.get_mut(place) {
            *old = byte;
        }
        query.truncate(query.len() - cut.min(query.len()));
        fuzz_message(&query);
    }

    #[test]
    fn names_are_what_the_rules_see(
        labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,12}", 1..5),
        below in any::<bool>(),
    ) {
        let mut name = labels.join(".");
        if below {
            name.push_str(".A.example");
        }
        let lower = name.to_ascii_lowercase();
        let expected = if below { format!("V4 {lower}") } else { format!("denied {lower}") };
        prop_assert_eq!(text(&bytes(&name, RecordType::A)), expected);
    }
}
