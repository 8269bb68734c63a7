import Federation
import Fleets
import Foundation
import Inference
import Tensors
import Testing

/// Shards, providers of every kind and schedules drawn by seed: whatever happens, what is kept in the end is complete, of
/// each shard one answer, and none of anybody who was found lying.
@Suite("The machine of shards")
struct ShardMachineTests {
    typealias Attempt = ShardMachine.Attempt

    static func provider(_ number: Int) -> Provider { Provider(id: "0x\(number)", name: "provider-\(number)") }

    /// What a provider does with the work it is given.
    enum Kind: CaseIterable {
        case honest
        /// Wrong rows from some answer on, right ones before.
        case liar
        /// It fails now and then.
        case flaky
        /// It refuses what others can do.
        case refuser
        /// It takes its time.
        case slow
    }

    /// A fleet that is played: what was given is answered in an order that is drawn.
    struct Play {
        var machine: ShardMachine
        var random: SeededGenerator
        var kinds: [Kind]
        var answersOf: [Int: Int] = [:]
        /// From which of its answers on a liar lies.
        var liesFrom: [Int: Int]
        var now = 0.0
        var given: [Attempt: Int] = [:]
        var waiting: [(attempt: Attempt, avoiding: Set<String>)] = []
        var answers: [Attempt: (provider: Int, isWrong: Bool)] = [:]
        /// By shard.
        var kept: [Int: (provider: Int, isWrong: Bool)] = [:]
        var keeps = 0
        var left: Set<String> = []
        var held: [String: Int] = [:]
        var recomputing: [AuditMachine.Key] = []
        var wakes: [Double] = []
        var end: [Int]?
        var mostGiven = 0
        var problems: [String] = []

        mutating func obey(_ actions: [ShardMachine.Action]) {
            for action in actions {
                if end != nil { if case .discard = action { continue } }
                switch action {
                case .give(let attempt, let avoiding):
                    waiting.append((attempt, avoiding))
                    mostGiven = max(mostGiven, waiting.count + given.count)
                case .stop(let attempt):
                    waiting.removeAll { $0.attempt == attempt }
                    // It ends with an event all the same.
                    if given.removeValue(forKey: attempt) != nil || end == nil {
                        obey(machine.handle(.failed(attempt, .init(provider: nil)), now: now))
                    }
                case .keep(let attempt):
                    guard let answer = answers.removeValue(forKey: attempt) else {
                        problems.append("\(attempt) is kept and was not delivered")
                        continue
                    }
                    if kept[attempt.client] != nil { problems.append("shard \(attempt.client) is kept twice") }
                    kept[attempt.client] = answer
                    keeps += 1
                case .discard(let attempt): answers[attempt] = nil
                case .drop(let shard):
                    if kept.removeValue(forKey: shard) == nil {
                        problems.append("\(shard) is dropped and was not kept")
                    }
                case .recompute(let key, _): recomputing.append(key)
                case .holdPay(let provider): held[provider.id, default: 0] += 1
                case .releasePay(let provider): held[provider.id, default: 0] -= 1
                case .leave(let provider, _, _): left.insert(provider.id)
                case .wake(let time): wakes.append(time)
                case .end(let missing): end = missing
                case .audited, .failureHandled, .slow: break
                }
            }
        }

        static func digest(_ attempt: Attempt, isWrong: Bool) -> String {
            isWrong ? "wrong \(attempt.client)" : "right \(attempt.client)"
        }

        /// Something happens; false when nothing can.
        mutating func step() -> Bool {
            now += random.uniform()
            if let wake = wakes.first, wake <= now {
                wakes.removeFirst()
                obey(machine.handle(.tick, now: now))
                return true
            }
            var choices: [Int] = []
            let free = kinds.indices.filter { number in
                !left.contains(ShardMachineTests.provider(number).id) && !given.values.contains(number)
            }
            if !waiting.isEmpty, !free.isEmpty { choices.append(0) }
            if !given.isEmpty { choices.append(1) }
            if !recomputing.isEmpty { choices.append(2) }
            guard !choices.isEmpty else { return false }
            switch choices[Int(random.next() % UInt64(choices.count))] {
            case 0:
                let (attempt, avoiding) = waiting.removeFirst()
                // As a fleet does: one that is to be avoided only where there is no other.
                let welcome = free.filter { !avoiding.contains(ShardMachineTests.provider($0).id) }
                let pool = welcome.isEmpty ? free : welcome
                let number = pool[Int(random.next() % UInt64(pool.count))]
                given[attempt] = number
                obey(machine.handle(.started(attempt, ShardMachineTests.provider(number)), now: now))
            case 1:
                let all = given.keys.sorted()
                let attempt = all[Int(random.next() % UInt64(all.count))]
                guard let number = given[attempt] else { return true }
                if kinds[number] == .slow, random.uniform() < 0.9 { return true }
                given[attempt] = nil
                answer(attempt, number)
            default:
                let key = recomputing.removeFirst()
                obey(machine.handle(.recomputed(key, .delta(digest: "right \(key.client)")), now: now))
            }
            return true
        }

        private mutating func answer(_ attempt: Attempt, _ number: Int) {
            let provider = ShardMachineTests.provider(number)
            if kinds[number] == .refuser {
                obey(
                    machine.handle(.failed(attempt, .init(provider: provider, refusal: "malformed")), now: now))
                return
            }
            if kinds[number] == .flaky, random.uniform() < 0.4 {
                obey(machine.handle(.failed(attempt, .init(provider: provider)), now: now))
                return
            }
            answersOf[number, default: 0] += 1
            let isWrong = kinds[number] == .liar && answersOf[number, default: 0] >= liesFrom[number] ?? 1
            answers[attempt] = (number, isWrong)
            obey(
                machine.handle(
                    .delivered(
                        attempt, .init(provider: provider, digest: Self.digest(attempt, isWrong: isWrong))), now: now))
        }

        mutating func run() {
            obey(machine.handle(.begin, now: now))
            var steps = 0
            while end == nil, steps < 100_000 {
                steps += 1
                if !step() {
                    guard let wake = wakes.first else { break }
                    now = max(now, wake)
                }
            }
        }
    }

    static func play(
        seed: UInt64, kinds: [Kind], shards: Int, done: [Int: Provider] = [:], looksAtAll: Bool = true,
        retries: Int = 1000, mostUnderWay: Int = 5
    ) -> Play {
        var random = SeededGenerator(seed: seed, purpose: "shards")
        let liesFrom = Dictionary(
            uniqueKeysWithValues: kinds.indices.map { ($0, 1 + Int(random.next() % 4)) })
        let rules = RoundMachine.Rules(
            requiredAnswers: shards, retries: retries, stragglerFactor: 3, stragglerMinimumSeconds: 5)
        return Play(
            machine: ShardMachine(
                shards: shards, done: done, rules: rules, looksAtAll: looksAtAll, mostUnderWay: mostUnderWay, seed: seed
            ),
            random: random, kinds: kinds, liesFrom: liesFrom)
    }

    @Test("every shard once, and none of a liar, whatever the schedule", arguments: 0..<300)
    func randomSchedules(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed), purpose: "kinds")
        // One honest provider at least: else there is nobody to end it.
        var kinds: [Kind] = [.honest]
        for _ in 0..<Int(random.next() % 6) {
            kinds.append(Kind.allCases[Int(random.next() % UInt64(Kind.allCases.count))])
        }
        let shards = 1 + Int(random.next() % 24)
        var play = Self.play(seed: UInt64(seed), kinds: kinds, shards: shards)
        play.run()
        #expect(play.end == [], "\(kinds), \(shards) shards: \(String(describing: play.end))")
        #expect(play.problems.isEmpty, "\(play.problems)")
        #expect(play.kept.keys.sorted() == Array(0..<shards))
        #expect(!play.kept.values.contains { $0.isWrong }, "\(kinds): a wrong answer is kept")
        let liars = play.left.filter { id in kinds.indices.contains { Self.provider($0).id == id && kinds[$0] == .liar }
        }
        #expect(
            !play.kept.values.contains { liars.contains(Self.provider($0.provider).id) },
            "something of a liar is kept: \(play.kept)")
        #expect(
            play.left.allSatisfy { id in
                kinds.indices.contains { Self.provider($0).id == id && [.liar, .refuser].contains(kinds[$0]) }
            }, "nobody honest is left: \(play.left)")
        #expect(play.held.values.allSatisfy { $0 == 0 }, "bills wait for ever: \(play.held)")
        #expect(play.mostGiven <= 5)
        #expect(play.machine.totals.audited >= shards)
    }

    @Test("what a liar did before the start is thrown away as soon as it is found out", arguments: 0..<40)
    func liarOfBefore(seed: Int) {
        let done = Dictionary(uniqueKeysWithValues: (0..<6).map { ($0, Self.provider($0 % 2)) })
        var play = Self.play(seed: UInt64(seed), kinds: [.liar, .honest], shards: 12, done: done)
        for shard in 0..<6 { play.kept[shard] = (shard % 2, false) }
        play.liesFrom = [0: 1]
        play.run()
        #expect(play.end == [] && play.problems.isEmpty)
        #expect(play.kept.count == 12)
        let found = play.left.contains(Self.provider(0).id)
        #expect(!found || !play.kept.values.contains { $0.provider == 0 })
        // It was asked at least once by nearly every seed, and then it was found.
        #expect(found == (play.answersOf[0] != nil))
    }

    @Test("where nothing is looked at, all is kept at once")
    func unaudited() {
        var play = Self.play(seed: 3, kinds: [.honest, .flaky], shards: 9, looksAtAll: false)
        play.run()
        #expect(play.end == [] && play.kept.count == 9 && play.machine.totals.audited == 0 && play.held.isEmpty)
    }

    @Test("tries end: the shards that cannot be done are named, and what is done stays")
    func triesEnd() {
        var machine = ShardMachine(
            shards: 3, rules: .init(requiredAnswers: 3, retries: 1), looksAtAll: false, mostUnderWay: 10)
        _ = machine.handle(.begin, now: 0)
        let one = Self.provider(1)
        _ = machine.handle(.delivered(Attempt(client: 0, number: 1), .init(provider: one, digest: "")), now: 1)
        var actions = machine.handle(.failed(Attempt(client: 1, number: 1), .init(provider: one)), now: 2)
        #expect(actions.contains { if case .give(Attempt(client: 1, number: 2), _) = $0 { true } else { false } })
        actions = machine.handle(.failed(Attempt(client: 1, number: 2), .init(provider: one)), now: 3)
        #expect(actions.contains(.end(missing: [1, 2])) && machine.done == 1 && machine.isOver)
        // What arrives afterwards is of no use.
        #expect(
            machine.handle(.delivered(Attempt(client: 2, number: 1), .init(provider: one, digest: "")), now: 4)
                == [.discard(Attempt(client: 2, number: 1))])
    }

    @Test("all done before: the end comes with the beginning")
    func allDone() {
        let done = Dictionary(uniqueKeysWithValues: (0..<4).map { ($0, Self.provider(0)) })
        var machine = ShardMachine(
            shards: 4, done: done, rules: .init(requiredAnswers: 4, retries: 1), looksAtAll: true, mostUnderWay: 2)
        #expect(machine.handle(.begin, now: 0) == [.end(missing: [])])
    }

    @Test("a machine of home that is broken judges nobody")
    func brokenHome() {
        var machine = ShardMachine(
            shards: 1, rules: .init(requiredAnswers: 1, retries: 1), looksAtAll: true, mostUnderWay: 2)
        _ = machine.handle(.begin, now: 0)
        let attempt = Attempt(client: 0, number: 1)
        let key = AuditMachine.Key(round: 0, client: 0, attempt: 1)
        _ = machine.handle(.delivered(attempt, .init(provider: Self.provider(1), digest: "a")), now: 1)
        #expect(machine.handle(.recomputed(key, .delta(digest: "b")), now: 2) == [.recompute(key, isAgain: true)])
        let actions = machine.handle(.recomputed(key, .delta(digest: "c")), now: 3)
        #expect(actions.contains(.keep(attempt)) && actions.contains(.end(missing: [])))
        #expect(!actions.contains { if case .leave = $0 { true } else { false } })
    }
}
