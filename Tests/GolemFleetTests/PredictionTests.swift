import Fleets
import Foundation
import GolemFleet
import Tensors
import Testing

/// A finished model on rented machines: it goes there once, one shard after the other takes the place of the one before.
@Suite(.timeLimit(.minutes(2))) struct PredictionTests {
    private let run: FakeRun
    private let memory: ProviderMemory

    init() throws {
        run = try FakeRun()
        memory = try ProviderMemory()
    }

    private func job(_ shard: Int, attempt: Int = 1) -> FleetJob {
        var job = run.job(shard, round: 0, attempt: attempt)
        job.kind = .predict()
        return job
    }

    @Test func theModelGoesOnceAndShardsDoNotPileUp() async throws {
        try await run.with([("a", .none)], memory: memory) { session, source in
            for attempt in 1...2 {
                for shard in 0..<3 {
                    let answer = try await session.perform(job(shard, attempt: attempt)) { _ in }
                    guard case .predictions(let values) = answer.output else {
                        Issue.record("no predictions")
                        return
                    }
                    #expect(values == [Float](repeating: Float(4 + shard), count: 2 * (4 + shard)))
                    #expect(answer.provider.name == "a" && answer.bytesUp > 0 && answer.bytesDown > 0)
                }
            }
            #expect(source.log.count("upload weights-") == 1)
            #expect(source.log.count("upload shard.safetensors") == 6 && source.log.count("upload shard-") == 0)
        }
    }

    /// Not merely damaged on the way: it is as its receipt says, and no answer to what was asked.
    @Test func anAnswerOfAnotherShapeIsNone() async throws {
        try await run.with([("a", .lazy)], memory: memory) { session, source in
            let failure = await #expect(throws: WorkerFailure.self) { try await session.perform(job(1)) { _ in } }
            #expect(failure?.kind == .badResult && failure?.message.contains("[5, 2] was asked for") == true)
            #expect(source.log.count("discard blame true pay false") == 1)
        }
    }
}
