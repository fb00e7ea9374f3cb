//! Who one may be, and what an account that does not exist looks like (security rows S11, S25; C37, C39).

use super::*;

#[test]
fn names_are_prepared_and_unescaped() {
    for (sent, prepared) in [("Juliet", "juliet"), ("JULIET", "juliet"), ("a=2Cb=3Dc", "a,b=c"), ("ｊuliet", "juliet")]
    {
        let client = Client::new(Hash::Sha1, sent, "pencil");
        assert_success(run(&offered(), "SCRAM-SHA-1", &client, Some(account("pencil", Hash::Sha1))), prepared);
    }
}

#[test]
fn c39_only_the_own_identity_may_be_asked_for() {
    let own = Client::new(Hash::Sha1, "juliet", "pencil").header("n,a=juliet@capulet.lit,");
    assert_success(run(&offered(), "SCRAM-SHA-1", &own, Some(account("pencil", Hash::Sha1))), "juliet");
    let others = [
        "romeo@capulet.lit",
        "juliet@capulet.lit/balcony",
        "juliet",
        "capulet.lit",
        "juliet@montague.lit",
        "Juliet@capulet.lit",
        "juliet@CAPULET.lit",
        "juliet@capulet.lit.",
        "ｊuliet@capulet.lit",
        "@capulet.lit",
        "juliet@capulet.lit@capulet.lit",
    ];
    for authzid in others {
        let client = Client::new(Hash::Sha1, "juliet", "pencil").header(&format!("n,a={authzid},"));
        let outcome = run(&offered(), "SCRAM-SHA-1", &client, Some(account("pencil", Hash::Sha1)));
        assert_eq!(outcome.0, Step::Failure(SaslFailure::InvalidAuthzid), "{authzid}");
    }
}

#[test]
fn s11_scram_cannot_authenticate_as_one_and_act_as_another() {
    let bob = Client::new(Hash::Sha1, "alice", "pencil").header("n,a=bob@capulet.lit,");
    let outcome = run(&offered(), "SCRAM-SHA-1", &bob, Some(account("pencil", Hash::Sha1)));
    assert_eq!(outcome.0, Step::Failure(SaslFailure::InvalidAuthzid));
}

#[test]
fn c37_wrong_password_and_unknown_user_look_alike() {
    let client = Client::new(Hash::Sha256, "juliet", "wrong");
    let wrong = run(&offered(), "SCRAM-SHA-256", &client, Some(account("pencil", Hash::Sha256)));
    let unknown = run(&offered(), "SCRAM-SHA-256", &client, None);
    assert_eq!(wrong.0, Step::Failure(SaslFailure::NotAuthorized));
    assert_eq!(unknown.0, wrong.0);
}

#[test]
fn c37_a_disabled_account_is_named_only_after_a_correct_proof() {
    let disabled = || Some(Account { disabled: true, ..account("pencil", Hash::Sha256) });
    let right = Client::new(Hash::Sha256, "juliet", "pencil");
    let wrong = Client::new(Hash::Sha256, "juliet", "wrong");
    let outcome = |client| run(&offered(), "SCRAM-SHA-256", client, disabled()).0;
    assert_eq!(outcome(&right), Step::Failure(SaslFailure::AccountDisabled));
    assert_eq!(outcome(&wrong), Step::Failure(SaslFailure::NotAuthorized));
}

fn salt_and_rounds(name: &str, mechanism: &str, account: Option<Account>) -> String {
    let mut exchange = start(mechanism, &offered());
    let step = exchange.step(Some(format!("n,,n={name},r=x").as_bytes()));
    let step = if let Step::NeedCredentials { .. } = step { exchange.credentials(account) } else { step };
    let server_first = challenge(step);
    let (_, rest) = server_first.split_once(",s=").unwrap();
    rest.rsplit_once(",h=").unwrap().0.to_owned()
}

#[test]
fn s25_unknown_users_have_a_steady_salt_of_the_usual_kind() {
    let fake = salt_and_rounds("nobody", "SCRAM-SHA-256", None);
    assert_eq!(fake, salt_and_rounds("nobody", "SCRAM-SHA-256", None), "the same on every try");
    assert_eq!(fake, salt_and_rounds("Nobody", "SCRAM-SHA-256", None), "for every spelling of the name");
    assert_ne!(fake, salt_and_rounds("nemo", "SCRAM-SHA-256", None));
    assert_ne!(fake, salt_and_rounds("nobody", "SCRAM-SHA-1", None), "as real accounts have one a hash");
    let keys = ScramKeys::new("pencil", NonZeroU32::new(4096).unwrap(), Hash::Sha256).unwrap();
    let real = salt_and_rounds("juliet", "SCRAM-SHA-256", Some(Account { keys, disabled: false }));
    assert_eq!(real.len(), fake.len());
    assert_eq!(real.split_once(',').unwrap().1, fake.split_once(',').unwrap().1, "the same rounds");
}

#[test]
fn s25_impossible_names_fail_at_the_end_like_any_other() {
    // No localpart may hold a slash.
    let client = Client::new(Hash::Sha256, "jul/iet", "pencil");
    let mut exchange = start("SCRAM-SHA-256", &offered());
    let server_first = challenge(exchange.step(Some(client.first().as_bytes())));
    let last = client.last(&server_first);
    assert_eq!(exchange.step(Some(last.message.as_bytes())), Step::Failure(SaslFailure::NotAuthorized));
}

#[test]
fn no_password_fits_a_decoy() {
    let decoy = Decoy::new(b"a secret of the server", 1);
    for hash in Hash::ALL {
        let keys = decoy.keys(hash, "nobody");
        assert_eq!((keys.stored_key.len(), keys.server_key.len()), (hash.length(), hash.length()));
        assert_ne!(keys.stored_key, keys.server_key);
        assert_ne!(keys.stored_key, decoy.keys(hash, "nemo").stored_key);
        assert_ne!(keys.stored_key, Decoy::new(b"another secret", 1).keys(hash, "nobody").stored_key);
        assert!(!keys.verifies("pencil") && !keys.verifies(""));
    }
}
