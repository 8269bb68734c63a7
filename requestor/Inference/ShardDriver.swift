import Federation
import Fleets
import Foundation
import Jobs
import NeuralNetwork
import Tensors

/// Performs what a ``ShardMachine`` says: gives shards to the fleet, draws rows of what comes and has home compute them,
/// keeps answers in the folder, tells the fleet who is to be left and whose bills wait.
struct ShardDriver: Sendable {
    typealias Attempt = ShardMachine.Attempt

    let session: any FleetSession
    let jobs: ShardJobs
    let home: HomePredictions
    let folder: InferenceFolder
    let cut: ShardCut
    let outputs: Int
    let audit: AuditPolicy
    let progress: @Sendable (InferenceEvent) -> Void

    /// An answer that is not yet believed.
    private struct Answer: Sendable {
        var answer: JobAnswer
        var values: [Float]
        /// The rows, or tokens of a text, that were drawn after it had come, and their digest.
        var drawn: [Int]
        var digest: String
    }

    private enum Message: Sendable {
        case progress(Attempt, JobProgress)
        case ended(Attempt, Result<Answer, any Error>)
        case recomputed(AuditMachine.Key, AuditMachine.Recomputation, seconds: Double)
        case tick
    }

    /// Runs until every shard is done, or cannot be.
    func run(_ machine: ShardMachine, doneBefore: [Int: Provider]) async throws -> InferenceResult {
        let (mailbox, mail) = AsyncStream.makeStream(of: Message.self)
        return try await withThrowingDiscardingTaskGroup { group in
            defer { mail.finish() }
            var machine = machine
            var answers: [Attempt: Answer] = [:]
            var stops: [Attempt: AsyncStream<Never>.Continuation] = [:]
            var tally = Tally(cut: cut, done: Set(doneBefore.keys))
            var missing: [Int]?
            let start = ContinuousClock.now
            func now() -> Double { (ContinuousClock.now - start) / .seconds(1) }

            var actions = machine.handle(.begin, now: 0)
            var messages = mailbox.makeAsyncIterator()
            while true {
                for action in actions {
                    switch action {
                    case .give(let attempt, let avoiding):
                        let (stopped, stop) = AsyncStream.makeStream(of: Never.self)
                        stops[attempt] = stop
                        group.addTask {
                            let result = await perform(attempt, avoiding: avoiding, until: stopped) {
                                mail.yield(.progress(attempt, $0))
                            }
                            mail.yield(.ended(attempt, result))
                        }
                    case .stop(let attempt): stops[attempt]?.finish()
                    case .keep(let attempt):
                        guard let answer = answers.removeValue(forKey: attempt) else { break }
                        let shard = attempt.client
                        try folder.keep(
                            answer.values, rows: cut.range(shard).count, of: shard, from: answer.answer.provider)
                        progress(.kept(tally.keep(shard, answer.answer, now: now())))
                        progress(.progress(tally.progress(now())))
                    case .discard(let attempt): answers[attempt] = nil
                    case .drop(let shard):
                        try folder.drop(shard)
                        tally.drop(shard)
                        progress(.dropped(shard: shard))
                        progress(.progress(tally.progress(now())))
                    case .recompute(let key, let isAgain):
                        let attempt = Attempt(client: key.client, number: key.attempt)
                        let range = cut.range(key.client)
                        // Of a refusal nothing was drawn: all of it is looked at.
                        let drawn = answers[attempt]?.drawn ?? Array(0..<jobs.form.parts(rows: range.count))
                        let values = answers[attempt]?.values
                        group.addTask {
                            let begun = ContinuousClock.now
                            guard
                                let result = try? await home.recompute(
                                    drawn, in: range, of: values, isAgain: isAgain)
                            else { return }
                            mail.yield(
                                .recomputed(key, result, seconds: (ContinuousClock.now - begun) / .seconds(1)))
                        }
                    case .holdPay(let provider): await session.judge(.open, of: provider)
                    case .releasePay(let provider): await session.judge(.closed, of: provider)
                    case .leave(let provider, let reason, let isPaid):
                        await session.judge(.wrong(reason, isPaid: isPaid), of: provider)
                    case .audited(let event): progress(.audited(event))
                    case .failureHandled(let attempt, let consequence):
                        tally.failures[attempt].map { progress(.failed($0.event(attempt, consequence))) }
                        tally.failures[attempt] = nil
                    case .slow(let attempt, let seconds, let median):
                        progress(
                            .straggler(
                                RunEvent.Straggler(
                                    round: 0, client: attempt.client, attempt: attempt.number,
                                    provider: tally.atWork[attempt], seconds: seconds, median: median)))
                    case .wake(let time):
                        group.addTask {
                            try? await Task.sleep(until: start + .seconds(time))
                            if !Task.isCancelled { mail.yield(.tick) }
                        }
                    case .end(let shards): missing = shards
                    }
                }
                if machine.isOver { break }
                guard let message = await messages.next() else { break }
                switch message {
                case .progress(let attempt, .started(let provider)):
                    tally.started(attempt, provider, now: now())
                    let event = RunEvent.Attempt(
                        round: 0, client: attempt.client, attempt: attempt.number, provider: provider)
                    progress(.given(event))
                    progress(.progress(tally.progress(now())))
                    actions = machine.handle(.started(attempt, provider), now: now())
                case .progress(let attempt, .stage(let stage)):
                    progress(
                        .stage(
                            RunEvent.AttemptStage(
                                round: 0, client: attempt.client, attempt: attempt.number,
                                provider: tally.atWork[attempt], stage: stage)))
                    actions = []
                case .progress: actions = []
                case .ended(let attempt, let result):
                    stops.removeValue(forKey: attempt)?.finish()
                    let provider = tally.atWork.removeValue(forKey: attempt)
                    actions = machine.handle(
                        try take(result, of: attempt, provider, &answers, &tally), now: now())
                case .recomputed(let key, let result, let seconds):
                    tally.homeSeconds += seconds
                    actions = machine.handle(.recomputed(key, result), now: now())
                case .tick: actions = machine.handle(.tick, now: now())
                }
            }
            group.cancelAll()
            try Task.checkCancellation()
            if let missing, !missing.isEmpty { throw Self.failure(missing, tally, cut) }
            return tally.result(machine.totals, looksAtAll: audit != .off)
        }
    }

    /// What the end of an attempt is to the machine. An error that is not about this attempt is thrown on.
    private func take(
        _ result: Result<Answer, any Error>, of attempt: Attempt, _ provider: Provider?,
        _ answers: inout [Attempt: Answer], _ tally: inout Tally
    ) throws -> ShardMachine.Event {
        switch result {
        case .success(let answer):
            answers[attempt] = answer
            tally.delivered(answer.answer)
            return .delivered(
                attempt,
                ShardMachine.Delivery(
                    provider: answer.answer.provider, digest: answer.digest,
                    isComparable: answer.answer.receipt.kernels == kernelsVersion))
        case .failure(var failure as WorkerFailure):
            failure.provider = failure.provider ?? provider
            tally.failed(attempt, failure)
            let refusal = failure.report?.refusal
            let isOfTheWork =
                failure.kind == .worker
                && refusal?.isOfThisMachine(exitCode: failure.exitCode.map { Int($0) }) == false
            return .failed(
                attempt,
                ShardMachine.Failure(
                    provider: failure.provider, isRetryable: failure.isRetryable,
                    refusal: isOfTheWork ? refusal.map { $0.code ?? $0.stage } : nil))
        case .failure(is CancellationError):
            return .failed(attempt, ShardMachine.Failure(provider: provider))
        case .failure(let error): throw error
        }
    }

    /// One attempt that ends early when `stopped` does.
    private func perform(
        _ attempt: Attempt, avoiding: Set<String>, until stopped: AsyncStream<Never>,
        progress: @escaping @Sendable (JobProgress) -> Void
    ) async -> Result<Answer, any Error> {
        await withTaskGroup(of: Result<Answer, any Error>?.self) { group in
            group.addTask {
                do { return .success(try await answer(attempt, avoiding: avoiding, progress)) } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                for await _ in stopped {}
                return nil
            }
            var result: Result<Answer, any Error> = .failure(CancellationError())
            for await ended in group {
                if let ended { result = ended }
                group.cancelAll()
            }
            return result
        }
    }

    private func answer(
        _ attempt: Attempt, avoiding: Set<String>, _ progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> Answer {
        let (job, file) = try await onOwnThread(named: "shard") { try jobs.job(attempt, avoiding: avoiding) }
        defer { if let file { try? Files.remove(file) } }
        try Task.checkCancellation()
        let answer = try await session.perform(job, progress: progress)
        if let path = answer.outputPath { try? Files.remove(path) }
        guard case .predictions(let values) = answer.output, values.count == job.examples * outputs else {
            throw DeMLError(.internal, "predictions were asked for, and something else was answered")
        }
        // Now, when nothing of it can be changed any more, and by numbers that nobody outside can know.
        var random = SystemRandomNumberGenerator()
        let parts = jobs.form.parts(rows: job.examples)
        let drawn = audit.draw(of: parts, using: &random)
        return Answer(
            answer: answer, values: values, drawn: drawn,
            digest: HomePredictions.digest(drawn, of: values, outputs: values.count / parts))
    }

    private static func failure(_ missing: [Int], _ tally: Tally, _ cut: ShardCut) -> DeMLError {
        let last = tally.lastFailure
        return DeMLError(
            .workerFailed,
            "\(missing.count) of \(cut.count) shards could not be done: none of the machines that were tried gave a good "
                + "answer",
            place: last?.provider?.name,
            hint: "what is done is kept: the same command goes on",
            cause: last.map { DeMLError(.workerFailed, "at \($0.stage): \($0.message)") })
    }
}
