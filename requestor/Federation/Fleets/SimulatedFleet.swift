import Jobs
import NeuralNetwork
import Tensors
import Worker

/// Workers in this process, for experiments with hundreds of clients: each client trains on one thread, as many at once as
/// there are processors. The examples are those of the dataset, by index; nothing is copied or written.
///
/// A client's delta has the same bits as that of `deml-worker` with the same weights, shard, options and seed.
public final class SimulatedFleet: Fleet {
    public let name = "simulated"
    public let needsFiles = false

    private let shards: [Examples]
    private let slots: SlotPool

    /// - Parameters:
    ///   - shards: the examples of every client, in order; subsets of one dataset share its bytes.
    ///   - threads: how many clients at once.
    public init(shards: [Examples], threads: Int? = nil) {
        self.shards = shards
        slots = SlotPool(count: max(1, threads ?? availableProcessors()))
    }

    public func withWorkers<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        perform: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await perform()
    }

    public func train(
        _ assignment: TrainAssignment, progress: @escaping @Sendable (WorkerProgress) -> Void
    ) async throws -> WorkerResult {
        let slot: Int
        do { slot = try await slots.acquire() } catch {
            throw WorkerFailure(.cancelled, provider: nil, stage: "start", message: "it was not needed any more")
        }
        defer { slots.release(slot) }
        let provider = Provider(id: "thread-\(slot + 1)", name: "thread-\(slot + 1)")
        progress(.started(provider))
        let examples = shards[assignment.client]
        let stop = StopFlag()
        return try await withTaskCancellationHandler {
            try await onOwnThread(named: provider.name) {
                try Self.train(assignment, on: examples, as: provider, stop, progress)
            }
        } onCancel: {
            stop.raise()
        }
    }

    private static func train(
        _ assignment: TrainAssignment, on examples: Examples, as provider: Provider, _ stop: StopFlag,
        _ progress: @Sendable (WorkerProgress) -> Void
    ) throws -> WorkerResult {
        let start = ContinuousClock.now
        func seconds() -> Double { (ContinuousClock.now - start) / .seconds(1) }
        let limit = min(assignment.maxSeconds ?? .infinity, assignment.timeLimit)
        let threads = assignment.threads ?? 1
        let training = LocalTraining(
            weights: assignment.weights.weights, examples: examples, options: assignment.options, threads: threads)
        let done: LocalTraining.Done
        do throws(DeMLError) {
            done = try training.perform(
                since: start, shouldStop: { stop.isUp || seconds() >= limit }, onEpoch: { progress(.epoch($0)) })
        } catch {
            throw WorkerFailure(
                .worker, provider: provider, stage: "train", message: error.summary, isRetryable: false,
                seconds: seconds())
        }
        if stop.isUp {
            throw WorkerFailure(
                .cancelled, provider: provider, stage: "train", message: "it was not needed any more",
                seconds: seconds())
        }
        if done.receipt.stoppedEarly, assignment.maxSeconds.map({ $0 > assignment.timeLimit }) ?? true {
            throw WorkerFailure(
                .late, provider: provider, stage: "train",
                message: "it took longer than \(assignment.timeLimit) s and was stopped", seconds: seconds())
        }
        let update = Update(
            client: assignment.client, examples: examples.count, values: done.parameters,
            workDone: done.receipt.workDone(of: assignment.options))
        return WorkerResult(
            update: update, report: Receipt(command: "train", outcome: .trained(done.receipt)), training: done.receipt,
            provider: provider, bytesUp: 0, bytesDown: 0, seconds: seconds())
    }
}
