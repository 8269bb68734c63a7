import Aggregation
import Fleets
import Foundation
import Jobs
import NeuralNetwork
import Tensors

/// Performs what an ``AuditMachine`` says: looks at answers between the fleet and the round, has home compute, tells the
/// fleet who is to be left and whose bills wait.
actor Auditor {
    private var machine: AuditMachine
    private let session: any FleetSession
    private let home: HomeTraining
    /// What a client was asked in a round.
    private let assignment: @Sendable (AuditMachine.Key, RoundWeights) throws -> TrainAssignment
    /// The weights of a round that is not remembered here.
    private let savedWeights: @Sendable (_ round: Int) throws -> RoundWeights
    private let journal: @Sendable (RunEvent.Kind) -> Void
    private let sketchKey = UInt64.random(in: .min ... .max)

    private enum Decision {
        case pass
        case reject(String)
    }

    /// What rounds start from, by the round that made them: of the newest two.
    private var weights: [Int: (weights: RoundWeights, norm: Double)] = [:]
    private var steps: [AuditMachine.Key: Int] = [:]
    private var decisions: [AuditMachine.Key: Decision] = [:]
    private var waiting: [AuditMachine.Key: CheckedContinuation<Decision, Never>] = [:]
    private var beliefs: [AuditMachine.Key: Bool] = [:]
    private var settling: [CheckedContinuation<Void, Never>] = []
    private let orders: AsyncStream<(AuditMachine.Key, Bool)>
    private let order: AsyncStream<(AuditMachine.Key, Bool)>.Continuation
    private var seconds = 0.0

    init(
        policy: AuditPolicy, totals: AuditTotals?, session: any FleetSession, home: HomeTraining,
        assignment: @escaping @Sendable (AuditMachine.Key, RoundWeights) throws -> TrainAssignment,
        savedWeights: @escaping @Sendable (Int) throws -> RoundWeights,
        journal: @escaping @Sendable (RunEvent.Kind) -> Void
    ) {
        // The run's own seed is in the settings; this one nobody is told.
        machine = AuditMachine(policy: policy, seed: .random(in: .min ... .max), totals: totals)
        self.session = session
        self.home = home
        self.assignment = assignment
        self.savedWeights = savedWeights
        self.journal = journal
        (orders, order) = AsyncStream.makeStream()
    }

    /// Does what is to be recomputed while `body` runs.
    nonisolated func working<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                await self.recompute()
                return nil
            }
            group.addTask { try await body() }
            defer { group.cancelAll() }
            while let next = try await group.next() {
                if let value = next { return value }
            }
            throw CancellationError()
        }
    }

    var totals: AuditTotals {
        var totals = machine.totals
        totals.homeSeconds += seconds
        return totals
    }

    /// The first round that has wrong values in its average.
    var firstWrongRound: Int? { machine.firstWrongRound }

    // MARK: What the run tells

    func roundBegan(_ round: Int, _ weights: RoundWeights) async {
        let norm = weights.weights.parameters.squaredNorm.squareRoot()
        self.weights = self.weights.filter { $0.key >= weights.round - 1 }
        self.weights[weights.round] = (weights, norm)
        steps = steps.filter { $0.key.round >= round - AuditMachine.lookBack }
        await handle(.roundBegan(round))
    }

    func roundEnded(_ round: Int) async { await handle(.roundEnded(round)) }
    func runEnding() async { await handle(.runEnding) }
    func wentBack(to round: Int) async {
        weights = weights.filter { $0.key <= round }
        await handle(.wentBack(to: round))
    }

    /// Waits until nothing of the rounds up to this one must be looked at any more.
    func settled(through round: Int) async throws {
        while !machine.isSettled(through: round) {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    // The cancellation may have come before.
                    if Task.isCancelled { continuation.resume() } else { settling.append(continuation) }
                }
            } onCancel: {
                Task { await self.wake() }
            }
            try Task.checkCancellation()
        }
    }

    private func wake() {
        let all = settling
        settling = []
        for continuation in all { continuation.resume() }
    }

    // MARK: Answers

    /// Looks at an answer; returns when it may be averaged.
    /// - Throws: ``WorkerFailure`` when it is wrong.
    func review(_ result: WorkerResult, of assignment: TrainAssignment) async throws -> WorkerResult {
        let key = AuditMachine.Key(
            round: assignment.round, client: assignment.client, attempt: assignment.attempt)
        steps[key] = result.training.steps
        let print =
            machine.policy == .off
            ? DeltaFingerprint([], key: 0) : await fingerprint(of: result.update.values)
        await handle(
            .arrived(
                AuditMachine.Work(
                    key: key, provider: result.provider, fingerprint: print,
                    weightsNorm: weights[assignment.weights.round]?.norm ?? 0,
                    isComparable: result.report.kernels == kernelsVersion)))
        switch await decision(key) {
        case .pass: return result
        case .reject(let reason):
            if let path = result.deltaPath { try? Files.remove(path) }
            throw WorkerFailure(
                .badResult, provider: result.provider, stage: "audit", message: reason, report: result.report,
                bytesUp: result.bytesUp, bytesDown: result.bytesDown, seconds: result.seconds,
                costGLM: result.costGLM)
        }
    }

    private nonisolated func fingerprint(of values: [Float]) async -> DeltaFingerprint {
        DeltaFingerprint(values, key: sketchKey)
    }

    private func decision(_ key: AuditMachine.Key) async -> Decision {
        if let known = decisions.removeValue(forKey: key) { return known }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let known = decisions.removeValue(forKey: key) {
                    continuation.resume(returning: known)
                } else if Task.isCancelled {
                    continuation.resume(returning: .pass)
                } else {
                    waiting[key] = continuation
                }
            }
        } onCancel: {
            Task { await self.callOff(key) }
        }
    }

    /// The answer is not wanted any more; whoever waits for it throws it away.
    private func callOff(_ key: AuditMachine.Key) async {
        guard let continuation = waiting.removeValue(forKey: key) else { return }
        continuation.resume(returning: .pass)
        await handle(.calledOff(key))
    }

    /// A worker's failure, with what is known of it: one that every machine would have is not to be tried again.
    func review(_ failure: WorkerFailure, of assignment: TrainAssignment) async -> WorkerFailure {
        guard failure.kind == .worker, failure.isRetryable, let refusal = failure.report?.refusal,
            let provider = failure.provider, !refusal.isOfThisMachine(exitCode: failure.exitCode.map { Int($0) })
        else { return failure }
        let key = AuditMachine.Key(
            round: assignment.round, client: assignment.client, attempt: assignment.attempt)
        steps[key] = .max
        await handle(.refused(key, provider, code: refusal.code ?? refusal.stage))
        var failure = failure
        if beliefs.removeValue(forKey: key) == true {
            failure.isRetryable = false
            failure.message += " (another machine says the same)"
        }
        return failure
    }

    // MARK: Actions

    private func handle(_ event: AuditMachine.Event) async {
        for action in machine.handle(event) { await perform(action) }
        wake()
    }

    private func perform(_ action: AuditMachine.Action) async {
        switch action {
        case .recompute(let key, let isAgain): order.yield((key, isAgain))
        case .pass(let key): decide(key, .pass)
        case .reject(let key, let reason): decide(key, .reject(reason))
        case .passRefusal(let key, let isBelieved): beliefs[key] = isBelieved
        case .holdPay(let provider): await session.judge(.open, of: provider)
        case .releasePay(let provider): await session.judge(.closed, of: provider)
        case .leave(let provider, let reason, let isPaid):
            await session.judge(.wrong(reason, isPaid: isPaid), of: provider)
        case .journal(let event): journal(.audited(event))
        }
    }

    private func decide(_ key: AuditMachine.Key, _ decision: Decision) {
        if let continuation = waiting.removeValue(forKey: key) {
            continuation.resume(returning: decision)
        } else {
            decisions[key] = decision
        }
    }

    // MARK: Home

    private func recompute() async {
        for await (key, isAgain) in orders {
            let start = ContinuousClock.now
            let result: AuditMachine.Recomputation
            do {
                result = try await home.recompute(
                    try question(key), steps: steps[key] ?? .max, isAgain: isAgain)
            } catch is CancellationError {
                return
            } catch {
                result = .undone((error as? DeMLError)?.summary ?? "\(error)")
            }
            seconds += (ContinuousClock.now - start) / .seconds(1)
            await handle(.recomputed(key, result))
        }
    }

    private func question(_ key: AuditMachine.Key) throws -> TrainAssignment {
        try assignment(key, try weights[key.round - 1]?.weights ?? savedWeights(key.round - 1))
    }
}
