import Aggregation
import Federation
import Fleets
import Foundation
import Tensors
import Testing

/// What is looked at and what follows, event by event.
@Suite("The machine of audits")
struct AuditMachineTests {
    typealias Key = AuditMachine.Key
    typealias Action = AuditMachine.Action

    static func provider(_ name: String) -> Provider { Provider(id: "0x" + name, name: name) }

    /// An honest delta: the others' direction and length, and something of its own.
    static func values(_ round: Int, _ client: Int) -> [Float] {
        var random = SeededGenerator(
            seed: 3, purpose: "delta", UInt32(truncatingIfNeeded: round), UInt32(truncatingIfNeeded: client))
        return (0..<500).map { Float(sin(Double($0))) + 0.5 * Float(random.normal()) }
    }

    static func work(
        _ round: Int, _ client: Int, _ name: String, attempt: Int = 1, values: [Float]? = nil
    ) -> AuditMachine.Work {
        AuditMachine.Work(
            key: Key(round: round, client: client, attempt: attempt), provider: provider(name),
            fingerprint: DeltaFingerprint(values ?? Self.values(round, client), key: 77), weightsNorm: 20)
    }

    static func truth(_ key: Key) -> AuditMachine.Recomputation {
        .delta(digest: DeltaFingerprint(values(key.round, key.client), key: 77).digest)
    }

    /// A machine whose home is always there and honest: what it says is played back until nothing is left to do.
    struct Played {
        var machine: AuditMachine
        var actions: [Action] = []
        var home: (Key) -> AuditMachine.Recomputation = AuditMachineTests.truth

        init(_ policy: AuditPolicy, seed: UInt64 = 1) { machine = AuditMachine(policy: policy, seed: seed) }

        mutating func handle(_ event: AuditMachine.Event) {
            var events = [event]
            while !events.isEmpty {
                for action in machine.handle(events.removeFirst()) {
                    actions.append(action)
                    if case .recompute(let key, _) = action { events.append(.recomputed(key, home(key))) }
                }
            }
        }

        var left: [String] {
            actions.compactMap { if case .leave(let provider, _, _) = $0 { provider.name } else { nil } }
        }
        var rejected: [Key] { actions.compactMap { if case .reject(let key, _) = $0 { key } else { nil } } }
        var passed: [Key] { actions.compactMap { if case .pass(let key) = $0 { key } else { nil } } }
        /// Bills that wait for ever, by provider.
        var heldPay: [String: Int] {
            var open: [String: Int] = [:]
            for action in actions {
                if case .holdPay(let provider) = action { open[provider.name, default: 0] += 1 }
                if case .releasePay(let provider) = action { open[provider.name, default: 0] -= 1 }
            }
            return open.filter { $0.value != 0 }
        }
    }

    /// What a liar makes of an honest delta.
    enum Lie: String, CaseIterable {
        case scaled, zero, random, copied, less, huge, replayed

        func values(_ round: Int, _ client: Int) -> [Float] {
            let honest = AuditMachineTests.values(round, client)
            switch self {
            case .scaled: return honest.map { -3 * $0 }
            case .zero: return honest.map { _ in 0 }
            case .random:
                var random = SeededGenerator(seed: 9, purpose: "lie", UInt32(round), UInt32(client))
                return honest.map { _ in 0.8 * Float(random.normal()) }
            case .copied: return AuditMachineTests.values(round, (client + 1) % 3)
            case .less: return honest.enumerated().map { $0 == 0 ? $1 + 1e-6 : $1 }
            case .huge: return honest.map { _ in 3e38 }
            case .replayed: return AuditMachineTests.values(max(1, round - 1), client)
            }
        }
    }

    @Test("where all is looked at, no lie gets into an average", arguments: Lie.allCases)
    func everyLieIsFound(lie: Lie) {
        var run = Played(.all)
        run.handle(.roundBegan(1))
        for client in 0..<3 { run.handle(.arrived(Self.work(1, client, "p\(client)"))) }
        run.handle(.roundEnded(1))
        run.handle(.roundBegan(2))
        run.handle(.arrived(Self.work(2, 1, "p1")))
        run.handle(.arrived(Self.work(2, 0, "p0", values: lie.values(2, 0))))
        run.handle(.arrived(Self.work(2, 2, "p2")))
        run.handle(.arrived(Self.work(2, 0, "p1", attempt: 2)))
        run.handle(.roundEnded(2))
        #expect(run.left == ["p0"])
        #expect(run.rejected == [Key(round: 2, client: 0, attempt: 1)])
        #expect(run.passed.count == 6 && run.machine.firstWrongRound == nil)
        #expect(run.heldPay.isEmpty, "\(run.heldPay)")
        #expect(run.machine.totals.audited == 7 && run.machine.totals.mismatches == 1)
    }

    @Test("what is far outside of what the run has seen is always looked at", arguments: Lie.allCases, 0..<20)
    func strangeLiesAreFound(lie: Lie, seed: Int) {
        guard lie != .less else { return }
        // Whoever comes first in the first round can be compared with nobody until all are there.
        for position in 0..<3 {
            var run = Played(.auto, seed: UInt64(seed))
            // Home is away: nothing is drawn beside what must be looked at.
            run.home = { $0.client == 0 ? Self.truth($0) : Self.truth($0) }
            run.handle(.roundBegan(1))
            var clients = [1, 2]
            clients.insert(0, at: position)
            for client in clients {
                run.handle(
                    .arrived(
                        client == 0
                            ? Self.work(1, 0, "p0", values: lie == .replayed ? lie.values(2, 0) : lie.values(1, 0))
                            : Self.work(1, client, "p\(client)")))
            }
            if lie == .replayed {
                run.handle(.roundEnded(1))
                run.handle(.roundBegan(2))
                run.handle(.arrived(Self.work(2, 0, "p0", values: lie.values(2, 0))))
            }
            run.handle(.roundEnded(lie == .replayed ? 2 : 1))
            #expect(run.left == ["p0"], "\(lie) at \(position): \(run.actions)")
            #expect(run.rejected.count == 1 || run.machine.firstWrongRound != nil)
            #expect(run.heldPay.isEmpty)
        }
    }

    @Test("honest answers of a run are all right, and home is used while others train")
    func honestRun() {
        var run = Played(.auto)
        for round in 1...10 {
            run.handle(.roundBegan(round))
            for client in 0..<5 { run.handle(.arrived(Self.work(round, client, "p\(client)"))) }
            run.handle(.roundEnded(round))
        }
        run.handle(.runEnding)
        #expect(run.left.isEmpty && run.rejected.isEmpty && run.heldPay.isEmpty)
        #expect(run.machine.totals.audited >= 45 && run.machine.totals.mismatches == 0)
        #expect(run.machine.totals.rounds == 10)
    }

    @Test("off looks at nothing, and holds nothing back")
    func off() {
        var run = Played(.off)
        run.handle(.roundBegan(1))
        for client in 0..<3 { run.handle(.arrived(Self.work(1, client, "p\(client)", values: [0]))) }
        run.handle(.roundEnded(1))
        run.handle(.runEnding)
        #expect(run.passed.count == 3 && run.actions.count == 3)
    }

    @Test("at least one answer of a run is looked at, though home never had time")
    func atLeastOne() throws {
        var machine = AuditMachine(policy: .auto, seed: 1)
        _ = machine.handle(.roundBegan(1))
        let first = machine.handle(.arrived(Self.work(1, 0, "p0")))
        guard case .recompute(let key, false)? = first.last else { throw NoRecord() }
        _ = machine.handle(.roundEnded(1))
        // What is merely drawn is not waited for between rounds, but at the end.
        #expect(machine.isSettled(through: 1))
        _ = machine.handle(.runEnding)
        #expect(!machine.isSettled(through: 1))
        _ = machine.handle(.recomputed(key, Self.truth(key)))
        #expect(machine.isSettled(through: 1) && machine.totals.audited == 1)
    }

    @Test("a share is drawn by a seed that no provider knows, and differs from run to run")
    func share() {
        func drawn(_ seed: UInt64) -> [Int] {
            var run = Played(.share(0.3), seed: seed)
            run.handle(.roundBegan(1))
            for client in 0..<200 { run.handle(.arrived(Self.work(1, client, "p\(client)"))) }
            return run.actions.compactMap { if case .recompute(let key, _) = $0 { key.client } else { nil } }
        }
        let first = drawn(1)
        #expect((35...90).contains(first.count), "\(first.count)")
        #expect(first != drawn(2) && first == drawn(1))
    }

    @Test("wrong values in an average take the run back to the round before, and the rounds are counted")
    func goesBack() {
        var machine = AuditMachine(policy: .auto, seed: 4)
        var run = Played(.auto)
        run.machine = machine
        run.home = { $0.client == 0 ? .delta(digest: "other") : Self.truth($0) }
        run.handle(.roundBegan(1))
        run.handle(.arrived(Self.work(1, 0, "p0")))
        #expect(run.machine.firstWrongRound == 1 && run.left == ["p0"] && run.rejected.isEmpty)
        run.home = Self.truth
        run.handle(.wentBack(to: 0))
        #expect(run.machine.firstWrongRound == nil && run.machine.totals.roundsRedone == 1)
        // Done again, the same honest work is no copy of itself; whatever the liar sends is held.
        run.handle(.roundBegan(1))
        run.handle(.arrived(Self.work(1, 1, "p1")))
        run.handle(.arrived(Self.work(1, 0, "p0", attempt: 2)))
        machine = run.machine
        #expect(run.heldPay.isEmpty && machine.totals.mismatches == 1)
        #expect(run.actions.contains { if case .holdPay(let p) = $0 { p.name == "p0" } else { false } })
    }

    @Test("what else a liar did in rounds that stand is looked at, and the oldest lie decides")
    func looksBack() {
        // Home is busy with others for three rounds; then the lie is found.
        var machine = AuditMachine(policy: .share(1e-9), seed: 4)
        for round in 1...3 {
            _ = machine.handle(.roundBegan(round))
            for client in 0..<3 {
                let lie = client == 0 && round >= 2
                _ = machine.handle(
                    .arrived(
                        Self.work(
                            round, client, "p\(client)",
                            values: lie ? Lie.less.values(round, client) : nil)))
            }
            _ = machine.handle(.roundEnded(round))
        }
        _ = machine.handle(.roundBegan(4))
        var run = Played(.auto)
        run.machine = machine
        run.handle(.arrived(Self.work(4, 0, "p0", values: Lie.zero.values(4, 0))))
        #expect(run.left.first == "p0" && run.machine.firstWrongRound == 2)
        #expect(run.heldPay.isEmpty)
    }

    @Test("a home that gives two answers to one question judges nobody")
    func brokenHome() {
        var run = Played(.all)
        var count = 0
        let answers = ["a", "b"]
        run.handle(.roundBegan(1))
        for action in run.machine.handle(.arrived(Self.work(1, 0, "p0"))) { run.actions.append(action) }
        while count < 2 {
            let more = run.machine.handle(
                .recomputed(Key(round: 1, client: 0, attempt: 1), .delta(digest: answers[count])))
            run.actions += more
            count += 1
        }
        #expect(run.left.isEmpty && run.passed.count == 1 && run.heldPay.isEmpty)
        run.handle(.arrived(Self.work(1, 1, "p1")))
        #expect(run.passed.count == 2)
    }

    @Test("workers that compute by other rules are not compared, unless the same image gives others too")
    func otherKernels() {
        func other(_ round: Int, _ client: Int) -> AuditMachine.Work {
            var work = Self.work(round, client, "p\(client)", values: Lie.less.values(round, client))
            work.isComparable = false
            return work
        }
        var run = Played(.all)
        run.handle(.roundBegan(1))
        for client in 0..<3 { run.handle(.arrived(other(1, client))) }
        #expect(run.passed.count == 3 && run.left.isEmpty && run.machine.totals.audited == 0)
        let told = run.actions.filter { action in
            if case .journal(let audit) = action { audit.verdict == .undecided } else { false }
        }
        #expect(told.count == 1)
        // One that does compute so shows that the others say it to be let alone.
        run.handle(.arrived(Self.work(1, 3, "p3")))
        #expect(run.left == ["p0", "p1", "p2"] && run.machine.firstWrongRound == 1 && run.heldPay.isEmpty)
        run.handle(.arrived(other(1, 4)))
        #expect(run.left.last == "p4" && run.rejected.map(\.client) == [4])
    }

    @Test("what home has computed once it does not compute again for company that comes later")
    func company() {
        var run = Played(.all)
        run.handle(.roundBegan(1))
        run.handle(.arrived(Self.work(1, 0, "p0")))
        run.handle(.arrived(Self.work(1, 0, "p1", attempt: 2)))
        let computed = run.actions.count { if case .recompute = $0 { true } else { false } }
        #expect(computed == 1 && run.passed.count == 2 && run.heldPay.isEmpty)
    }

    // MARK: Refusals

    @Test("a refusal is false when another does the work, and believed when another says the same")
    func refusals() {
        var run = Played(.off)
        run.handle(.roundBegan(1))
        run.handle(.refused(Key(round: 1, client: 0, attempt: 1), Self.provider("p0"), code: "malformed"))
        #expect(run.actions == [.passRefusal(Key(round: 1, client: 0, attempt: 1), isBelieved: false)])
        // The same machine again proves nothing.
        run.handle(.refused(Key(round: 1, client: 0, attempt: 2), Self.provider("p0"), code: "malformed"))
        #expect(run.actions.last == .passRefusal(Key(round: 1, client: 0, attempt: 2), isBelieved: false))
        run.handle(.arrived(Self.work(1, 0, "p1", attempt: 3)))
        #expect(run.left == ["p0", "p0"] && run.machine.totals.falseRefusals == 2)

        run = Played(.off)
        run.handle(.roundBegan(1))
        run.handle(.refused(Key(round: 1, client: 0, attempt: 1), Self.provider("p0"), code: "malformed"))
        run.handle(.refused(Key(round: 1, client: 0, attempt: 2), Self.provider("p1"), code: "malformed"))
        #expect(run.actions.last == .passRefusal(Key(round: 1, client: 0, attempt: 2), isBelieved: true))
        #expect(run.left.isEmpty)
    }

    @Test("home decides a refusal where there is no second machine")
    func homeDecidesRefusals() {
        let key = Key(round: 1, client: 0, attempt: 1)
        var run = Played(.auto)
        run.handle(.roundBegan(1))
        run.handle(.refused(key, Self.provider("p0"), code: "malformed"))
        #expect(run.left == ["p0"] && run.heldPay.isEmpty)

        run = Played(.auto)
        run.home = { _ in .refusal(code: "not-finite") }
        run.handle(.roundBegan(1))
        run.handle(.refused(key, Self.provider("p0"), code: "not-finite"))
        #expect(run.left.isEmpty && run.heldPay.isEmpty)
        run.handle(.refused(Key(round: 1, client: 0, attempt: 2), Self.provider("p0"), code: "not-finite"))
        #expect(run.actions.last == .passRefusal(Key(round: 1, client: 0, attempt: 2), isBelieved: true))
    }

    @Test("who did good work before a false refusal is paid for it")
    func goodWorkBeforeARefusalIsPaid() {
        var run = Played(.off)
        run.handle(.roundBegan(1))
        run.handle(.arrived(Self.work(1, 0, "p0")))
        run.handle(.refused(Key(round: 1, client: 1, attempt: 1), Self.provider("p0"), code: "malformed"))
        run.handle(.refused(Key(round: 1, client: 2, attempt: 1), Self.provider("p2"), code: "malformed"))
        run.handle(.arrived(Self.work(1, 1, "p1", attempt: 2)))
        run.handle(.arrived(Self.work(1, 2, "p1", attempt: 2)))
        let paid = run.actions.compactMap { action -> Bool? in
            if case .leave(_, _, let isPaid) = action { isPaid } else { nil }
        }
        #expect(run.left == ["p0", "p2"] && paid == [true, false])
    }
}

@Suite("What a person may say of audits")
struct AuditPolicyTests {
    @Test(
        "is read from YAML and from options",
        arguments: [
            (#""auto""#, AuditPolicy.auto), (#""off""#, .off), ("false", .off), (#""all""#, .all),
            ("0.25", .share(0.25)),
            ("1", .all), ("0", .off), (#""0.5""#, .share(0.5)),
        ])
    func reading(text: String, policy: AuditPolicy) throws {
        let read = try JSONDecoder().decode([AuditPolicy].self, from: Data("[\(text)]".utf8))
        #expect(read == [policy])
        let written = try JSONEncoder().encode(read)
        #expect(try JSONDecoder().decode([AuditPolicy].self, from: written) == read)
    }

    @Test("is refused by name where it makes no sense", arguments: [#""some""#, "true", "-1", "1.5", "null"])
    func refusing(text: String) {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([AuditPolicy].self, from: Data("[\(text)]".utf8))
        }
    }

    @Test("median and median distance are those of two sorts", arguments: 0..<60)
    func spread(count: Int) {
        var random = SeededGenerator(seed: UInt64(count), purpose: "spread")
        func median(_ values: [Double]) -> Double {
            let sorted = values.sorted()
            return sorted.isEmpty ? 0 : (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
        }
        // With ties, and lopsided.
        let values = (0..<count).map { _ in (random.uniform() * 8).rounded() * random.uniform() }.sorted()
        let spread = Spread(rising: values)
        #expect(spread.middle == median(values) && spread.count == count)
        #expect(spread.deviation == median(values.map { abs($0 - median(values)) }))
    }
}
