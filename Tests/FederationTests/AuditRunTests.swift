import Federation
import Fleets
import Foundation
import Jobs
import Synchronization
import Tensors
import TestSupport
import Testing

/// Whole runs in which one worker lies.
@Suite("A run whose answers are looked at")
struct AuditRunTests {
    /// Makes the first attempt of client 1 lie.
    static func lie(_ name: String) -> @Sendable (inout JobAnswer) -> Void {
        { answer in
            guard answer.provider.id == "p1.1", case .delta(let values) = answer.output else { return }
            var changed = values
            switch name {
            case "scaled": changed = values.map { -3 * $0 }
            case "zero": changed = values.map { _ in 0 }
            case "huge": changed = values.map { _ in 3e38 }
            case "less": changed[0] += 1e-6
            default: break
            }
            answer.output = .delta(changed)
        }
    }

    private func run(
        _ policy: AuditPolicy, _ lie: String, log: EventLog = EventLog(),
        trouble: @escaping @Sendable (TroubledAttempt) async throws -> Void = { _ in }
    ) async throws -> (Summary, [UInt8], [RoundMetrics]) {
        let folder = try ScratchFolder()
        let plan = try TinyProblem.plan(folder.path + "/run") { $0.verification.audit = policy }
        let fleet = TroubledFleet(fleet: SimulatedFleet(), trouble: trouble, change: Self.lie(lie))
        let summary = try await Run(plan, fleet: fleet, onEvent: { log.add($0) }).run()
        return (summary, try Files.read(plan.folder.model, maximumBytes: 1 << 20), try plan.folder.readMetrics())
    }

    @Test(
        "gives the model of an undisturbed one, whatever is sent",
        arguments: [
            ("all", "scaled"), ("all", "zero"), ("all", "huge"), ("all", "less"), ("auto", "scaled"), ("auto", "zero"),
            ("auto", "huge"),
        ])
    func modelIsRight(policy: String, lie: String) async throws {
        let honest = try await run(.off, "none")
        let log = EventLog()
        let (summary, model, metrics) = try await run(try #require(AuditPolicy(policy)), lie, log: log)
        #expect(model == honest.1)
        #expect(metrics.map(\.round) == honest.2.map(\.round) && metrics.map(\.loss) == honest.2.map(\.loss))
        let audits = try #require(summary.audits)
        #expect(audits.mismatches >= 1 && audits.audited > audits.mismatches)
        #expect(audits.providers.filter { $0.mismatches > 0 }.map(\.provider.id) == ["p1.1"])
        #expect(log.names.contains("audited"))
        #expect(summary.rounds == 3)
        // The best round is told at the beginning, and anew where it was taken back.
        let names = log.names
        for (name, next) in zip(names, names.dropFirst()) where ["run_started", "rounds_redone"].contains(name) {
            #expect(next == "best_model")
        }
        let best = log.events.compactMap { if case .bestModel(let told) = $0 { told.round } else { nil } }.last
        #expect(best == summary.bestRound)
    }

    @Test("without a lie is not changed by looking, and says what was looked at", arguments: ["all", "auto", "0.5"])
    func honest(policy: String) async throws {
        let honest = try await run(.off, "none")
        let (summary, model, _) = try await run(try #require(AuditPolicy(policy)), "none")
        #expect(model == honest.1 && honest.0.audits == nil)
        let audits = try #require(summary.audits)
        #expect(audits.answers == 12 && audits.mismatches == 0 && audits.audited >= 1)
        if policy == "all" { #expect(audits.audited == 12 && audits.rounds == 3) }
        #expect(summary.failures == 0)
    }

    @Test("ends when a lie cannot be replaced, instead of believing it")
    func everyAttemptLies() async throws {
        let folder = try ScratchFolder()
        let plan = try TinyProblem.plan(folder.path + "/run") {
            $0.verification.audit = .all
            $0.limits.retries = 1
        }
        let fleet = TroubledFleet(
            fleet: SimulatedFleet(), trouble: { _ in },
            change: { answer in
                guard answer.provider.id.hasPrefix("p1."), case .delta(let values) = answer.output else { return }
                answer.output = .delta(values.map { -$0 })
            })
        await #expect {
            _ = try await Run(plan, fleet: fleet).run()
        } throws: { error in
            (error as? DeMLError)?.exitCode == 69
        }
    }

    @Test("believes a refusal of two workers, and not that of one")
    func refusals() async throws {
        @Sendable func refuse(_ attempt: TroubledAttempt, _ which: ClosedRange<Int>) throws {
            guard attempt.client == 0, which.contains(attempt.attempt) else { return }
            let refusal = Receipt.Refusal(stage: "read-shard", code: "malformed", message: "it is no shard")
            throw WorkerFailure(
                .worker, provider: Provider(id: "p0.\(attempt.attempt)", name: "troubled"), stage: "read-shard",
                message: "it is no shard", exitCode: 65, report: Receipt(command: "train", outcome: .refused(refusal)))
        }
        let log = EventLog()
        _ = try await run(.off, "none", log: log) { try refuse($0, 1...1) }
        let wrong = log.events.compactMap { event -> RunEvent.Audit? in
            if case .audited(let audit) = event { audit } else { nil }
        }
        #expect(wrong.map(\.provider.id) == ["p0.1", "p0.1", "p0.1"] && wrong.allSatisfy { $0.verdict == .wrong })

        let again = EventLog()
        await #expect(throws: DeMLError.self) {
            _ = try await run(.off, "none", log: again) { try refuse($0, 1...9) }
        }
        // Not a third time: two say the same.
        #expect(again.failures.map(\.next) == [.retry, .leftOut])
    }
}
