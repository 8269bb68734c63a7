import Jobs
import NeuralNetwork
import Tensors
import Worker

/// Workers in this process, for experiments with hundreds of clients: each job is done on one thread, as many at once as
/// there are processors. Inputs are what they are in memory; nothing is copied or written.
///
/// A client's delta has the same bits as that of `deml-worker` with the same weights, shard, options and seed.
public struct SimulatedFleet: Fleet {
    public let name = "simulated"
    public let needsFiles = false
    public let hasOtherMachines = false

    private let parallel: Int

    /// - Parameter threads: how many jobs at once; by default as many as there are processors.
    public init(threads: Int? = nil) {
        parallel = max(1, threads ?? availableProcessors())
    }

    public func withSession<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        _ body: @escaping @Sendable (any FleetSession) async throws -> Value
    ) async throws -> SessionEnd<Value> {
        SessionEnd(try await body(SimulatedSession(slots: SlotPool(count: parallel))))
    }
}

private struct SimulatedSession: FleetSession {
    let slots: SlotPool

    func perform(
        _ job: FleetJob, progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> JobAnswer {
        let slot: Int
        do { slot = try await slots.acquire() } catch {
            throw WorkerFailure(.cancelled, provider: nil, stage: "start", message: "it was not needed any more")
        }
        defer { slots.release(slot) }
        let provider = Provider(id: "thread-\(slot + 1)", name: "thread-\(slot + 1)")
        progress(.started(provider))
        let work = SimulatedWork(job: job, provider: provider, progress: progress)
        return try await withTaskCancellationHandler {
            try await onOwnThread(named: provider.name) { try work.perform() }
        } onCancel: {
            work.stop.raise()
        }
    }
}

/// One job on one thread.
private struct SimulatedWork: Sendable {
    let job: FleetJob
    let provider: Provider
    let progress: @Sendable (JobProgress) -> Void
    let stop = StopFlag()
    private let start = ContinuousClock.now

    init(job: FleetJob, provider: Provider, progress: @escaping @Sendable (JobProgress) -> Void) {
        self.job = job
        self.provider = provider
        self.progress = progress
    }

    private var threads: Int { job.limits.threads ?? 1 }
    private var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }

    func perform() throws -> JobAnswer {
        guard case .weights(let weights)? = job.inputs[.weights], case .examples(let examples)? = job.inputs[.shard]
        else { throw DeMLError(.internal, "the simulated fleet works with contents, not with files") }
        let result: Result<JobAnswer, WorkerFailure>
        do throws(DeMLError) {
            switch job.kind {
            case .train(let options): result = try train(weights, examples, options)
            case .evaluate: result = .success(try evaluate(weights, examples))
            case .predict(let form): result = try predict(weights, examples, form)
            }
        } catch {
            throw WorkerFailure(
                .worker, provider: provider, stage: job.kind.name, message: error.summary, isRetryable: false,
                seconds: seconds)
        }
        return try result.get()
    }

    private func train(
        _ weights: Weights, _ examples: Examples, _ options: TrainingOptions
    ) throws(DeMLError) -> Result<JobAnswer, WorkerFailure> {
        let limit = min(job.limits.maxSeconds ?? .infinity, job.timeLimit)
        let training = try LocalTraining(weights: weights, examples: examples, options: options, threads: threads)
        let done = try training.perform(
            since: start, shouldStop: { stop.isUp || seconds >= limit }, onEpoch: { progress(.epoch($0)) })
        func failure(_ kind: WorkerFailure.Kind, _ message: String) -> Result<JobAnswer, WorkerFailure> {
            .failure(WorkerFailure(kind, provider: provider, stage: "train", message: message, seconds: seconds))
        }
        if stop.isUp { return failure(.cancelled, "it was not needed any more") }
        if done.receipt.stoppedEarly, !job.limits.allowsPartialWork || limit == job.timeLimit {
            return failure(.late, "it took longer than \(limit) s and was stopped")
        }
        return .success(answer(.trained(done.receipt), .delta(done.parameters)))
    }

    private func evaluate(_ weights: Weights, _ examples: Examples) throws(DeMLError) -> JobAnswer {
        let evaluator = try Evaluator(model: weights.model, threads: threads)
        let evaluation = try evaluator.evaluate(weights, examples)
        let machine = Receipt.Machine(
            seconds: seconds, samplesPerSecond: Double(examples.count) / max(seconds, 1e-9), threads: threads,
            isa: InstructionSet.standard.rawValue)
        let receipt = Receipt.Evaluation(
            examples: examples.count, loss: evaluation.loss, accuracy: evaluation.accuracy,
            confusion: evaluation.confusion, machine: machine)
        return answer(.evaluated(receipt), .nothing)
    }

    private func predict(
        _ weights: Weights, _ examples: Examples, _ form: WorkerJob.PredictionForm
    ) throws(DeMLError) -> Result<JobAnswer, WorkerFailure> {
        let predictions: [Float]
        if case .text(let text) = form {
            let written = try text.values(weights, examples, threads: threads, shouldStop: { stop.isUp })
            predictions = try written.floats()
            guard predictions.count == text.tokens else {
                return .failure(
                    WorkerFailure(
                        .cancelled, provider: provider, stage: "predict", message: "it was not needed any more",
                        seconds: seconds))
            }
        } else {
            let evaluator = try Evaluator(model: weights.model, threads: threads, examples: examples.count)
            predictions = try evaluator.predict(weights, examples, bare: form == .outputs).floats()
        }
        let machine = Receipt.Machine(
            seconds: seconds, samplesPerSecond: Double(examples.count) / max(seconds, 1e-9), threads: threads,
            isa: InstructionSet.standard.rawValue)
        let receipt = Receipt.Prediction(examples: examples.count, machine: machine)
        return .success(answer(.predicted(receipt), .predictions(predictions)))
    }

    private func answer(_ outcome: Receipt.Outcome, _ output: JobAnswer.Output) -> JobAnswer {
        JobAnswer(
            receipt: Receipt(command: job.kind.name, outcome: outcome), output: output, provider: provider,
            seconds: seconds)
    }
}
