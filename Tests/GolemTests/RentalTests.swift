import Golem
import Testing

@Suite("One rental")
struct RentalTests {
    private func run(_ events: [RentalStateMachine.Event]) -> (RentalStateMachine, [RentalStateMachine.Action]) {
        var machine = RentalStateMachine()
        var actions: [RentalStateMachine.Action] = []
        for event in events { actions += machine.handle(event) }
        return (machine, actions)
    }

    private let toReady: [RentalStateMachine.Event] = [
        .begin, .countered("ours"), .draft("draft"), .agreementCreated("g"), .answered(.pending), .answered(.approved),
        .activityCreated("a"), .prepared,
    ]

    @Test("from proposal to ready, and back")
    func whole() {
        let (ready, actions) = run(toReady)
        #expect(
            actions == [
                .startTimer(.draft), .counter, .createAgreement("draft"), .startTimer(.approval),
                .confirmAgreement("g"),
                .wait("g"), .createActivity("g"), .prepare("a"), .announceReady("g", "a"),
            ])
        #expect(ready.state == .ready("g", "a"))
        let (closed, rest) = run(
            toReady + [.close(code: "Success", reason: "done", blame: false), .activityDestroyed, .agreementTerminated])
        #expect(
            rest.suffix(4) == [
                .announceClosing("done"), .destroyActivity("a"),
                .terminateAgreement("g", code: "Success", reason: "done"),
                .finish(
                    .init(reason: "done", blame: false, wasTurnedDown: false, wasReady: true, agreementLeft: nil)),
            ])
        #expect(closed.state == .closed)
    }

    @Test("a provider that is gone leaves an agreement behind, which is noted")
    func gone() {
        let (_, actions) = run(toReady + [.lost("dead", blame: true), .activityNotDestroyed, .agreementNotTerminated])
        #expect(
            actions.last
                == .finish(
                    .init(reason: "dead", blame: true, wasTurnedDown: false, wasReady: true, agreementLeft: "g")))
    }

    @Test("what we did ourselves, and an agreement that came to its end, are not the provider's fault")
    func noBlame() {
        for event in [
            RentalStateMachine.Event.lost("a batch was cancelled in it", blame: false),
            .agreementEnded("Expired", blame: false),
        ] {
            let (_, actions) = run(
                toReady + [event, .activityDestroyed, .agreementTerminated])
            guard case .finish(let outcome)? = actions.last else {
                Issue.record("\(event): it did not finish")
                continue
            }
            #expect(!outcome.blame && outcome.wasReady)
        }
    }

    @Test("an agreement that the provider ended is not ended again")
    func endedByProvider() {
        let (_, actions) = run(toReady + [.agreementEnded("DebitNotesDeadline", blame: true), .activityDestroyed])
        #expect(actions.contains { if case .announceLost = $0 { true } else { false } })
        #expect(!actions.contains { if case .terminateAgreement = $0 { true } else { false } })
        #expect(actions.contains { if case .finish = $0 { true } else { false } })
    }

    @Test("without an answer the agreement is cancelled; if that comes too late, it is terminated")
    func silence() {
        let beginning = Array(toReady.prefix(4)) + [.confirmed, .stepExpired(.draft), .stepExpired(.approval)]
        #expect(run(beginning).1.last == .cancelAgreement("g"))
        let (_, late) = run(beginning + [.answered(.approved), .agreementNotTerminated])
        #expect(
            late.last
                == .terminateAgreement("g", code: "Cancelled", reason: "the provider did not answer the agreement"))
    }

    @Test("closing while something is being made waits for it, for a while, and gives it back")
    func closeWhileAsking() {
        let close = RentalStateMachine.Event.close(code: "Cancelled", reason: "stop", blame: false)
        let sending = Array(toReady.prefix(4)) + [close]
        #expect(run(sending).1.last == .startTimer(.lastCall))
        #expect(run(sending + [.confirmed]).1.last == .cancelAgreement("g"))
        #expect(run(sending + [.confirmFailed("no")]).1.last == .cancelAgreement("g"))
        let terminate = RentalStateMachine.Action.terminateAgreement("g", code: "Cancelled", reason: "stop")
        #expect(run(sending + [.answered(.approved)]).1.last == terminate)
        #expect(run(sending + [.stepExpired(.lastCall)]).1.last == .cancelAgreement("g"))
        let starting = Array(toReady.prefix(6)) + [close]
        #expect(run(starting).1.last == .startTimer(.lastCall))
        #expect(run(starting + [.activityCreated("a")]).1.last == .destroyActivity("a"))
        #expect(run(starting + [.activityCreated("a"), .activityDestroyed]).1.last == terminate)
        for event in [
            RentalStateMachine.Event.activityNotCreated("no"), .activityUnknown("away"), .stepExpired(.lastCall),
        ] {
            #expect(run(starting + [event]).1.last == terminate, "\(event)")
        }
        guard case .finish(let outcome)? = run(starting + [.agreementEnded("gone", blame: true)]).1.last else {
            Issue.record("the agreement's end ends it")
            return
        }
        #expect(!outcome.blame && outcome.agreementLeft == nil)
    }

    @Test("an activity of which our own daemon knows nothing is nobody's fault")
    func unknownActivity() {
        let (_, actions) = run(Array(toReady.prefix(6)) + [.activityUnknown("away"), .agreementTerminated])
        guard case .finish(let outcome)? = actions.last else {
            Issue.record("it did not finish")
            return
        }
        #expect(!outcome.blame && !outcome.wasTurnedDown)
    }

    @Test("closing while the agreement is being created waits for it, and cancels it")
    func closeWhileCreating() {
        let beginning = Array(toReady.prefix(3)) + [.close(code: "Cancelled", reason: "stop", blame: false)]
        #expect(run(beginning).1.last == .startTimer(.lastCall))
        #expect(run(beginning + [.agreementCreated("g")]).1.last == .cancelAgreement("g"))
        #expect(run(beginning + [.agreementNotCreated("no")]).0.state == .closed)
        #expect(run(Array(toReady.prefix(3)) + [.agreementNotCreated("no")]).0.state == .closed)
    }

    /// A world that answers actions in any order, with any outcome, and interferes.
    @Test("whatever happens: it ends, and all that was taken is given back or noted", arguments: 0..<500)
    func anyOrder(seed: UInt64) throws {
        var random = Repeatable(seed: seed)
        var machine = RentalStateMachine()
        var inbox: [RentalStateMachine.Event] = [.begin]
        var created: Set<AgreementID> = []
        var approved = false
        var ended = false
        var attempts: [AgreementID: Int] = [:]
        var activities: Set<ActivityID> = []
        var destroyed: Set<ActivityID> = []
        var readies = 0
        var outcome: RentalStateMachine.Outcome?

        func flip(_ yes: RentalStateMachine.Event, _ no: RentalStateMachine.Event) -> RentalStateMachine.Event {
            Int.random(in: 0...3, using: &random) > 0 ? yes : no
        }

        for step in 0..<400 {
            if step > 300, step % 5 == 0 { inbox.append(.close(code: "Success", reason: "end", blame: false)) }
            if step % 7 == 3 {
                inbox.append(
                    [
                        .lost("x", blame: true), .agreementEnded("y", blame: true),
                        .close(code: "c", reason: "z", blame: true),
                        .stepExpired(.draft), .stepExpired(.approval), .stepExpired(.lastCall), .confirmed,
                        .proposalRejected("busy", isFinal: false),
                        .answered(.pending), .prepared, .agreementTerminated, .activityDestroyed, .draft("other"),
                    ].randomElement(using: &random)!)
            }
            guard !inbox.isEmpty else { continue }
            let event = inbox.remove(at: Int.random(in: inbox.indices, using: &random))
            if case .agreementEnded = event { ended = true }
            let actions = machine.handle(event)
            #expect(outcome == nil || actions.isEmpty, "nothing is done after the end, seed \(seed)")
            for action in actions {
                switch action {
                case .counter:
                    inbox.append(flip(.countered("ours"), .counterFailed("no")))
                    inbox.append(.draft("draft"))
                case .createAgreement:
                    #expect(created.isEmpty)
                    if Int.random(in: 0...4, using: &random) > 0 {
                        created.insert("g")
                        inbox.append(.agreementCreated("g"))
                    } else {
                        inbox.append(.agreementNotCreated("no"))
                    }
                case .confirmAgreement, .wait:
                    let answer: RentalStateMachine.Event =
                        [
                            .answered(.approved), .answered(.approved), .answered(.pending), .answered(.refused("no")),
                            .confirmFailed("no"),
                        ]
                        .randomElement(using: &random)!
                    if answer == .answered(.approved) { approved = true }
                    inbox.append(answer)
                case .createActivity:
                    #expect(approved)
                    if Int.random(in: 0...4, using: &random) > 0 {
                        activities.insert("a")
                        inbox.append(.activityCreated("a"))
                    } else {
                        inbox.append(flip(.activityNotCreated("no"), .activityUnknown("away")))
                    }
                case .prepare: inbox.append(flip(.prepared, .notPrepared("no")))
                case .announceReady: readies += 1
                case .destroyActivity(let id):
                    destroyed.insert(id)
                    inbox.append(flip(.activityDestroyed, .activityNotDestroyed))
                case .cancelAgreement(let id), .terminateAgreement(let id, _, _):
                    attempts[id, default: 0] += 1
                    inbox.append(flip(.agreementTerminated, .agreementNotTerminated))
                case .finish(let result):
                    #expect(outcome == nil)
                    outcome = result
                default: break
                }
            }
            if case .ready = machine.state { #expect(approved && activities == ["a"]) }
        }
        let result = try #require(outcome, "it never ended, seed \(seed)")
        #expect(readies <= 1 && result.wasReady == (readies == 1))
        #expect(destroyed.isSubset(of: activities))
        if case .closed = machine.state, !created.isEmpty {
            let refused = result.reason.contains("not approve")
            #expect(attempts["g"] != nil || ended || refused, "an agreement was forgotten, seed \(seed): \(result)")
        }
    }
}

@Suite("The pool")
struct PoolTests {
    private func time(_ seconds: Double) -> Timestamp { Timestamp(nanoseconds: Int64(seconds * 1e9)) }

    private func pool(_ target: Int) -> PoolStateMachine { PoolStateMachine(settings: .init(target: target)) }

    private let good = RentalStateMachine.Outcome(
        reason: "done", blame: false, wasTurnedDown: false, wasReady: true, agreementLeft: nil)
    private let bad = RentalStateMachine.Outcome(
        reason: "died", blame: true, wasTurnedDown: false, wasReady: true, agreementLeft: nil)
    private let busy = RentalStateMachine.Outcome(
        reason: "busy", blame: false, wasTurnedDown: true, wasReady: false, agreementLeft: nil)

    @Test("offers are gathered for a moment, then the best are taken")
    func best() {
        var pool = pool(2)
        for (index, score) in [5.0, 1, 3].enumerated() {
            #expect(
                pool.offerCame("p\(index)", from: "n\(index)", name: "", score: score, objection: nil, at: time(0))
                    .isEmpty)
        }
        #expect(pool.clockTicked(time(1)) == [.startRental(1, "n1", "p1"), .startRental(2, "n2", "p2")])
        #expect(pool.clockTicked(time(1.1)).isEmpty)
    }

    @Test("a machine is lent to who waits, and a lost one replaced")
    func replacing() {
        var pool = pool(1)
        _ = pool.offerCame("p", from: "n", name: "", score: 1, objection: nil, at: time(0))
        _ = pool.clockTicked(time(1))
        #expect(pool.wanted(7, excluding: [], at: time(1)).isEmpty)
        #expect(pool.rentalReady(1, expiration: time(9999), at: time(2)) == [.lend(7, 1)])
        _ = pool.offerCame("q", from: "m", name: "", score: 1, objection: nil, at: time(3))
        #expect(pool.rentalLost(1, at: time(4)) == [.startRental(2, "m", "q")])
        #expect(pool.givenBack(1, at: time(5)).isEmpty, "it is being closed already")
    }

    /// Those of an agent that was killed stay in the market, and the daemon may tell of them last.
    @Test("of several offers of a node that say the same, the others are tried at once where one is not answered")
    func oldOffers() {
        var pool = pool(1)
        for id: ProposalID in ["good", "old1", "old2"] {
            #expect(pool.offerCame(id, from: "n", name: "", score: 1, objection: nil, at: time(0)).isEmpty)
        }
        let silent = RentalStateMachine.Outcome(
            reason: "silent", blame: false, wasTurnedDown: true, wasReady: false, wasUnanswered: true)
        #expect(pool.clockTicked(time(1)) == [.startRental(1, "n", "old2")])
        #expect(pool.rentalClosed(1, silent, at: time(11)) == [.startRental(2, "n", "old1")])
        #expect(pool.rentalClosed(2, silent, at: time(21)) == [.startRental(3, "n", "good")])
        // Where there is no other, it is let alone for a while.
        #expect(pool.rentalClosed(3, silent, at: time(31)).isEmpty)
        _ = pool.offerCame("new", from: "n", name: "", score: 1, objection: nil, at: time(31))
        #expect(!pool.clockTicked(time(32)).contains(.startRental(4, "n", "new")))
    }

    @Test("a provider that failed twice is left, one that was busy is asked again later")
    func leaving() {
        var pool = pool(1)
        for round in 0..<2 {
            let now = Double(round) * 100
            _ = pool.offerCame("p\(round)", from: "n", name: "", score: 1, objection: nil, at: time(now))
            _ = pool.clockTicked(time(now + 1))
            let actions = pool.rentalClosed(round + 1, bad, at: time(now + 2))
            let left = PoolStateMachine.Action.leaveProvider("n", reason: "died", until: time(102 + 600))
            #expect(actions.contains(left) == (round == 1))
        }
        #expect(
            pool.offerCame("p9", from: "n", name: "", score: 1, objection: nil, at: time(500))
                == [.forget("p9")])
        _ = pool.offerCame("q1", from: "m", name: "", score: 1, objection: nil, at: time(500))
        _ = pool.rentalClosed(3, busy, at: time(501))
        #expect(pool.offerCame("q2", from: "m", name: "", score: 1, objection: nil, at: time(501)).isEmpty)
        #expect(pool.clockTicked(time(520)) == [.startRental(4, "m", "q2")])
    }

    @Test("a provider that was left for its failures is asked again later, and left for longer after one more")
    func forgiving() {
        var pool = pool(1)
        for round in 0..<2 {
            _ = pool.offerCame(
                "p\(round)", from: "n", name: "", score: 1, objection: nil, at: time(Double(round) * 100))
            _ = pool.clockTicked(time(Double(round) * 100 + 1))
            _ = pool.rentalClosed(round + 1, bad, at: time(Double(round) * 100 + 2))
        }
        #expect(pool.offerCame("p2", from: "n", name: "", score: 1, objection: nil, at: time(701)) == [.forget("p2")])
        let actions =
            pool.offerCame("p3", from: "n", name: "", score: 1, objection: nil, at: time(703))
            + pool.clockTicked(time(704))
        #expect(actions == [.startRental(3, "n", "p3")])
        #expect(
            pool.rentalClosed(3, bad, at: time(710)).contains(
                .leaveProvider("n", reason: "died", until: time(710 + 1200))))
    }

    @Test("where nobody else is left, one that did work before is asked soon; one that never did, or that lied, is not")
    func better() {
        for (hasWorked, lied) in [(true, false), (false, false), (true, true)] {
            var pool = pool(1)
            for round in 0..<2 {
                let now = Double(round) * 100
                _ = pool.offerCame("p\(round)", from: "n", name: "", score: 1, objection: nil, at: time(now))
                _ = pool.clockTicked(time(now + 1))
                if hasWorked, round == 0 {
                    _ = pool.rentalReady(1, expiration: time(9999), at: time(2))
                    _ = pool.wanted(1, excluding: [], at: time(2))
                    // It is kept: machines of a training are given back at its end.
                    pool.worked(1)
                    _ = pool.discarded(1, reason: "lost", blame: true, at: time(3))
                }
                _ = pool.rentalClosed(round + 1, bad, at: time(now + 4))
            }
            if lied { _ = pool.providerLeft("n", reason: "it lied", at: time(105)) }
            _ = pool.wanted(2, excluding: [], at: time(106))
            _ = pool.clockTicked(time(110))
            #expect(
                pool.offerCame("p2", from: "n", name: "", score: 1, objection: nil, at: time(110)) == [.forget("p2")])
            _ = pool.clockTicked(time(104 + 16))
            let actions =
                pool.offerCame("p3", from: "n", name: "", score: 1, objection: nil, at: time(121))
                + pool.clockTicked(time(122))
            #expect(actions.contains(.startRental(3, "n", "p3")) == (hasWorked && !lied), "\(hasWorked) \(lied)")
        }
    }

    @Test("a machine whose agreement is about to end is exchanged")
    func renewal() {
        var pool = pool(1)
        _ = pool.offerCame("p", from: "n", name: "", score: 1, objection: nil, at: time(0))
        _ = pool.clockTicked(time(1))
        _ = pool.rentalReady(1, expiration: time(1000), at: time(2))
        _ = pool.wanted(1, excluding: [], at: time(3))
        _ = pool.offerCame("q", from: "m", name: "", score: 2, objection: nil, at: time(4))
        #expect(pool.clockTicked(time(800)).isEmpty)
        #expect(pool.clockTicked(time(830)) == [.startRental(2, "m", "q")], "its successor is rented while it is lent")
        #expect(
            pool.givenBack(1, at: time(831)) == [
                .closeRental(1, code: "Success", reason: "its agreement is about to end", blame: false)
            ])
    }

    @Test("a node's dear offer does not take the place of its cheap one")
    func severalOffersOfOneNode() {
        var pool = pool(1)
        _ = pool.offerCame("cheap", from: "n", name: "", terms: 1, score: 1, objection: nil, at: time(0))
        _ = pool.offerCame("dear", from: "n", name: "", terms: 2, score: 9, objection: nil, at: time(0.1))
        #expect(
            pool.offerCame("cheap", from: "n", name: "", terms: 1, score: 1, objection: nil, at: time(0.1)).isEmpty,
            "an event that is told twice takes nothing away")
        let refused = pool.offerCame("no", from: "n", name: "", terms: 3, score: nil, objection: "dear", at: time(0.2))
        #expect(refused == [.forget("no")])
        #expect(pool.clockTicked(time(1)) == [.startRental(1, "n", "cheap")], "one machine of a node at a time")
        // Published anew, the same offer is the better one; nobody may answer for it, so old ones stay, four in all.
        for id: ProposalID in ["anew", "again", "later"] {
            #expect(pool.offerCame(id, from: "n", name: "", terms: 2, score: 9, objection: nil, at: time(2)).isEmpty)
        }
        #expect(
            pool.offerCame("last", from: "n", name: "", terms: 2, score: 9, objection: nil, at: time(2))
                == [.forget("dear")])
        #expect(pool.rentalClosed(1, good, at: time(3)) == [.startRental(2, "n", "last")])
        #expect(pool.rentalClosed(2, good, at: time(4)) == [.startRental(3, "n", "later")])
    }

    @Test("while offers keep coming a moment is waited for, so that the cheapest of 300 are taken")
    func gathering() {
        var pool = pool(3)
        for index in 0..<300 {
            let score = Double((index * 7919) % 300)
            let now = time(Double(index) * 0.004)
            #expect(
                pool.offerCame("p\(index)", from: "n\(index)", name: "", score: score, objection: nil, at: now).isEmpty)
        }
        #expect(pool.overview(at: time(1.2)).isGathering)
        #expect(pool.overview(at: time(1.2)).line == "300 offers, waiting a moment for cheaper ones, 0 of 3 ready")
        #expect(pool.clockTicked(time(1.21)).isEmpty, "the last one came a moment ago")
        #expect(pool.clockTicked(time(1.52)).count == 3)
        #expect(pool.rentals.values.map(\.score).sorted() == [0, 1, 2])
    }

    @Test("slow providers are doubled, but never more of them than are wanted, and who is too many is let go")
    func slowNegotiations() {
        var pool = pool(3)
        for index in 0..<60 {
            _ = pool.offerCame("p\(index)", from: "n\(index)", name: "", score: 1, objection: nil, at: time(0))
        }
        var asked: [RentalID] = []
        for step in 10...200 {
            for case .startRental(let id, _, _) in pool.clockTicked(time(Double(step) / 10)) { asked.append(id) }
        }
        #expect(asked.count <= 8, "\(asked.count) providers asked for 3 machines")
        // All approve at once.
        var closed: Set<RentalID> = []
        for id in asked where !closed.contains(id) {
            for case .closeRental(let other, _, _, _) in pool.rentalApproved(id, at: time(20)) { closed.insert(other) }
        }
        #expect(asked.count - closed.count == 3, "\(asked.count) asked, \(closed.count) let go")
    }

    @Test("when all that offered something have failed, that is said, and the rest of the time is not waited for")
    func exhausted() {
        var pool = pool(1)
        _ = pool.wanted(1, excluding: [], at: time(0))
        var now = 0.0
        var rental = 0
        var refused: Double?
        while refused == nil, now < 115 {
            now += 0.5
            var actions = pool.clockTicked(time(now))
            // The node offers the same again whenever the demand is new, until it is left.
            if now == 0.5 || actions.contains(.refreshDemand) {
                actions += pool.offerCame(
                    "p\(Int(now * 10))", from: "n", name: "", score: 1, objection: nil, at: time(now))
            }
            for action in actions {
                if case .startRental(let id, _, _) = action {
                    rental = id
                    _ = pool.rentalApproved(id, at: time(now))
                    _ = pool.rentalClosed(id, bad, at: time(now + 0.1))
                }
                if case .refuse(1, .noMachine, let reason) = action {
                    #expect(reason == "1 provider seen, none usable: 1 × died")
                    refused = now
                }
            }
        }
        #expect(rental == 2)
        #expect(refused ?? 999 < 80, "said after \(refused ?? 999) s")
    }

    @Test("whose last machine is lost waits for those that have worked, as long as it waits for anybody")
    func lastMachineLost() {
        var pool = pool(2)
        // One node for two that are wanted: the demand is published again and again.
        for ticket in [1, 2] { _ = pool.wanted(ticket, excluding: [], at: time(0)) }
        _ = pool.offerCame("p", from: "n", name: "", score: 1, objection: nil, at: time(0))
        var rental: RentalID?
        var refused: [Double] = []
        for step in 1...600 {
            let now = Double(step) / 2
            if now == 50, let rental {
                _ = pool.givenBack(rental, at: time(now))
                _ = pool.wanted(3, excluding: [], at: time(now))
            }
            if now == 100, let rental {
                _ = pool.discarded(rental, reason: "no answer", blame: true, at: time(now))
                _ = pool.wanted(4, excluding: [], at: time(now))
            }
            if now == 103, let rental { _ = pool.rentalClosed(rental, bad, at: time(now)) }
            for action in pool.clockTicked(time(now)) {
                switch action {
                case .startRental(let id, _, _):
                    rental = id
                    _ = pool.rentalApproved(id, at: time(now))
                    _ = pool.rentalReady(id, expiration: time(10_000), at: time(now))
                case .refuse: refused.append(now)
                default: break
                }
            }
        }
        #expect(rental != nil)
        #expect(!refused.isEmpty && refused.allSatisfy { $0 > 215 && $0 < 225 }, "given up after \(refused) s")
    }

    @Test("a machine that costs a multiple is exchanged while it works; the new one comes first")
    func exchange() {
        var settings = PoolStateMachine.Settings(target: 1)
        settings.exchangeBelow = 0.5
        var pool = PoolStateMachine(settings: settings)
        _ = pool.offerCame("dear", from: "n", name: "", score: 4, objection: nil, at: time(0))
        _ = pool.clockTicked(time(1))
        _ = pool.rentalReady(1, expiration: time(9999), at: time(2))
        _ = pool.wanted(7, excluding: [], at: time(3))
        _ = pool.offerCame("similar", from: "k", name: "", score: 3, objection: nil, at: time(4))
        #expect(pool.clockTicked(time(40)).isEmpty, "not for a little")
        _ = pool.offerCame("cheap", from: "m", name: "", score: 1, objection: nil, at: time(41))
        #expect(pool.clockTicked(time(42)) == [.startRental(2, "m", "cheap")])
        #expect(pool.clockTicked(time(43)).isEmpty)
        _ = pool.wanted(8, excluding: [], at: time(44))
        #expect(
            pool.rentalReady(2, expiration: time(9999), at: time(45)) == [
                .lend(8, 2), .retireWhenFree(1, reason: "a cheaper machine takes its place"),
            ])
        #expect(
            pool.givenBack(1, at: time(50)) == [
                .closeRental(1, code: "Success", reason: "a cheaper machine takes its place", blame: false)
            ])
    }

    @Test("20,000 offers are taken in in less than a second, and a thousand of them kept")
    func manyOffers() {
        var pool = pool(3)
        let start = ContinuousClock.now
        for index in 0..<20_000 {
            let score = Double((index * 7919) % 20_000)
            _ = pool.offerCame(
                "p\(index)", from: "n\(index)", name: "", score: score, objection: nil, at: time(Double(index) / 10_000)
            )
        }
        _ = pool.clockTicked(time(4))
        let scores = pool.rentals.values.map(\.score)
        #expect(pool.rentals.count == 3 && scores.allSatisfy { $0 < 20_000 })
        #expect(pool.offers.entries.count <= 1000)
        #expect(ContinuousClock.now - start < .seconds(5))
    }

    @Test("who waits in vain is told why, and when all is over all is refused")
    func refusing() {
        var pool = pool(1)
        _ = pool.wanted(1, excluding: [], at: time(0))
        _ = pool.offerCame("p", from: "n", name: "", score: nil, objection: "it is too dear", at: time(1))
        #expect(!pool.clockTicked(time(100)).contains { if case .refuse = $0 { true } else { false } })
        #expect(
            pool.clockTicked(time(121)).contains(
                .refuse(1, .noMachine, "1 provider seen, none usable: 1 × it is too dear")))
        _ = pool.wanted(2, excluding: [], at: time(122))
        #expect(pool.stop(.stopped, "over", closeCode: "Success") == [.refuse(2, .stopped, "over")])
        #expect(pool.wanted(3, excluding: [], at: time(123)) == [.refuse(3, .stopped, "over")])
    }

    @Test(
        "whatever happens: no machine is lent twice, no provider rented twice at once, none that was left",
        arguments: 0..<300)
    func anyOrder(seed: UInt64) {
        var random = Repeatable(seed: seed)
        var pool = pool(Int.random(in: 0...4, using: &random))
        var now = 0.0
        var rentals: [RentalID: NodeID] = [:]
        var lent: Set<RentalID> = []
        var ready: Set<RentalID> = []
        var closing: Set<RentalID> = []
        var waiting: [Int: Set<NodeID>] = [:]
        var left: Set<NodeID> = []
        var worked: Set<NodeID> = []
        var failures: [NodeID: Int] = [:]
        var stopped = false

        func perform(_ actions: [PoolStateMachine.Action]) {
            for action in actions {
                switch action {
                case .startRental(let id, let node, _):
                    // Who did work before may be asked again.
                    #expect(!stopped && (!left.contains(node) || worked.contains(node)), "seed \(seed)")
                    #expect(!rentals.contains { $0.value == node && !closing.contains($0.key) }, "seed \(seed)")
                    rentals[id] = node
                case .closeRental(let id, _, _, _):
                    #expect(rentals[id] != nil)
                    closing.insert(id)
                case .lend(let ticket, let id):
                    let excluding = waiting.removeValue(forKey: ticket)
                    #expect(excluding != nil && excluding?.contains(rentals[id] ?? "") == false)
                    #expect(
                        ready.contains(id) && !lent.contains(id) && !closing.contains(id) && !stopped, "seed \(seed)")
                    lent.insert(id)
                case .refuse(let ticket, _, _):
                    #expect(waiting.removeValue(forKey: ticket) != nil || stopped)
                case .leaveProvider(let node, _, let until):
                    #expect(until != nil && failures[node, default: 0] >= 2)
                    left.insert(node)
                default: break
                }
            }
        }

        for step in 0..<300 {
            now += Double.random(in: 0...3, using: &random)
            let any = rentals.keys.sorted().randomElement(using: &random)
            switch Int.random(in: 0...11, using: &random) {
            case 0...2:
                let node: NodeID = "n\(Int.random(in: 0..<8, using: &random))"
                perform(
                    pool.offerCame(
                        "p\(step)", from: node, name: "", score: Double(step % 5),
                        objection: step % 9 == 0 ? "no" : nil, at: time(now)))
            case 3...4: perform(pool.clockTicked(time(now)))
            case 5:
                waiting[step] = step % 4 == 0 ? ["n1", "n2"] : []
                perform(pool.wanted(step, excluding: waiting[step] ?? [], at: time(now)))
            case 6...7:
                guard let any, !closing.contains(any), !ready.contains(any) else { continue }
                ready.insert(any)
                perform(pool.rentalApproved(any, at: time(now)))
                perform(
                    pool.rentalReady(
                        any, expiration: time(now + Double.random(in: 0...900, using: &random)), at: time(now)))
            case 8:
                guard let any = lent.sorted().randomElement(using: &random) else { continue }
                lent.remove(any)
                if step % 2 == 0, let node = rentals[any] { worked.insert(node) }
                perform(
                    step % 2 == 0
                        ? pool.givenBack(any, at: time(now))
                        : pool.discarded(any, reason: "r", blame: true, at: time(now)))
            case 9:
                guard let any else { continue }
                closing.insert(any)
                lent.remove(any)
                perform(pool.rentalLost(any, at: time(now)))
            case 10:
                guard let any = closing.sorted().randomElement(using: &random) else { continue }
                let outcome = [good, bad, busy].randomElement(using: &random) ?? good
                if outcome.blame { failures[rentals[any] ?? "", default: 0] += 1 }
                let node = rentals.removeValue(forKey: any)
                closing.remove(any)
                ready.remove(any)
                lent.remove(any)
                if outcome.blame, failures[node ?? ""] ?? 0 > 2 { #expect(left.contains(node ?? "")) }
                perform(pool.rentalClosed(any, outcome, at: time(now)))
            default:
                if step > 250 {
                    let actions = pool.stop(.stopped, "over", closeCode: "Success")
                    stopped = true
                    perform(actions)
                    waiting = [:]
                } else {
                    perform(pool.targetChanged(Int.random(in: 0...4, using: &random), at: time(now)))
                }
            }
            #expect(Set(pool.openRentals) == Set(rentals.keys), "seed \(seed)")
            #expect(pool.readyCount <= ready.count)
        }
    }
}
