import Federation
import Golem
import Jobs
import NeuralNetwork
import Tensors

/// One assignment on one machine: files in, training, files out, each answer checked.
struct FleetAttempt: Sendable {
    let assignment: TrainAssignment
    let lease: Dispatcher.Lease
    /// Where arriving files are put; names do not repeat.
    let folder: String
    /// Seconds after which the machine counts as too slow.
    let limit: Double
    let progress: @Sendable (WorkerProgress) -> Void

    /// What an attempt came to: the machine's new state is in ``lease`` whether it went well or not.
    struct Outcome: Sendable {
        var lease: Dispatcher.Lease
        var answer: Result<WorkerResult, WorkerFailure>
        /// The machine must not be used again.
        var isMachineLost = false
        /// The failure is the provider's doing.
        var isProvidersFault = false
        /// Samples a second, transfers included.
        var speed: Double?
    }

    /// What the worker is told, with the files where the guest has them.
    private var job: WorkerJob {
        assignment.job(
            weights: GuestFiles.weights, shard: GuestFiles.shard(assignment.client), delta: GuestFiles.delta,
            report: GuestFiles.report(assignment))
    }

    private var machine: any TrainingMachine { lease.machine }
    private var provider: Provider { lease.machine.provider }

    /// Uploads that may go on at the same time, over all machines.
    static let uploads = Gate(width: 4)

    func run() async throws -> Outcome {
        let start = ContinuousClock.now
        var state = Progress(lease: lease)
        var outcome: Outcome
        do {
            outcome = try await attempt(&state, start)
        } catch let failure as WorkerFailure {
            outcome = Outcome(lease: state.lease, answer: .failure(failure))
        } catch let error as GolemError {
            let late = error.code == .timedOut
            let failure = WorkerFailure(
                late ? .late : .lost, provider: provider, stage: state.stage,
                message: late ? "no answer after \(Int(limit.rounded())) s" : error.message)
            outcome = Outcome(
                lease: state.lease, answer: .failure(failure), isMachineLost: true, isProvidersFault: true)
        }
        let seconds = (ContinuousClock.now - start).inSeconds
        switch outcome.answer {
        case .success(var result):
            result.seconds = seconds
            result.costGLM = cost(seconds, result.training)
            outcome.answer = .success(result)
        case .failure(var failure):
            failure.seconds = seconds
            failure.costGLM = cost(seconds, nil)
            failure.bytesUp = state.bytesUp
            failure.bytesDown = state.bytesDown
            outcome.answer = .failure(failure)
        }
        return outcome
    }

    /// What is true of an attempt at the moment it fails.
    private struct Progress {
        var lease: Dispatcher.Lease
        var stage = "upload"
        var bytesUp = 0
        var bytesDown = 0
    }

    /// What the attempt costs by the agreed price. Of the processors' time only the worker knows, and it cannot have
    /// worked for longer than we waited.
    private func cost(_ seconds: Double, _ training: Receipt.Training?) -> Double? {
        machine.price.map { price in
            let busy = min(seconds, training?.epochs.reduce(0) { $0 + $1.seconds } ?? 0)
            return price.perSecond * seconds + price.perCPUSecond * busy * Double(training?.machine.threads ?? 1)
        }
    }

    private func attempt(_ state: inout Progress, _ start: ContinuousClock.Instant) async throws -> Outcome {
        guard let shard = assignment.shard.file, let weights = assignment.weights.file else {
            throw DeMLError(.internal, "the Golem fleet was given an assignment without files")
        }
        let total = Duration.seconds(limit)
        if !state.lease.shards.contains(assignment.client) {
            progress(.stage("upload"))
            let step = MachineStep.upload(shard.path, to: GuestFiles.shard(assignment.client))
            let results = try await Self.uploads.pass { try await machine.perform([step], limit: total) { _ in } }
            try expectTransfer(results.first, "upload")
            state.lease.shards.insert(assignment.client)
            state.bytesUp += shard.byteCount
        }
        let delta = folder + "/delta.safetensors.gz"
        let report = folder + "/report.json"
        let sendsWeights = state.lease.weights != weights.sha256
        var steps: [MachineStep] = []
        if sendsWeights { steps.append(.upload(weights.path, to: GuestFiles.weights)) }
        let runIndex = steps.count
        let downloads = downloads(delta: delta, report: report)
        // As an argument, the job costs no transfer and cannot be damaged on the way; it has about a kilobyte.
        steps.append(.run([GuestFiles.worker, "run", job.json]))
        steps += downloads
        state.stage = "train"
        state.lease.weights = nil
        progress(.stage("train"))

        let output = Shared(ProgressReader(job))
        let left = Duration.seconds(max(1, limit - (ContinuousClock.now - start).inSeconds))
        let begin = ContinuousClock.now
        let results = try await machine.perform(steps, limit: left) { text in
            for epoch in output.with({ $0.take(text.utf8) }) { progress(.epoch(epoch)) }
        }
        if sendsWeights {
            try expectTransfer(results.first, "upload")
            state.bytesUp += weights.byteCount
        }
        state.lease.weights = weights.sha256
        guard results.indices.contains(runIndex), results[runIndex].succeeded else {
            state.stage = "train"
            return await workerFailed(results.indices.contains(runIndex) ? results[runIndex] : nil, report, state.lease)
        }
        let seconds = (ContinuousClock.now - begin).inSeconds
        state.stage = "download"
        return try await checked(
            Array(results[(runIndex + 1)...]), downloads, state: &state,
            speed: Double(assignment.shard.count * assignment.options.epochs) / max(seconds, 1e-3))
    }

    private func downloads(delta: String, report: String) -> [MachineStep] {
        let parameters = assignment.weights.weights.model.parameterCount
        return [
            .download(GuestFiles.delta, into: delta, maximumBytes: 8 * parameters + (4 << 20)),
            .download(GuestFiles.report(assignment), into: report, maximumBytes: 16 << 20),
        ]
    }

    private func expectTransfer(_ result: StepResult?, _ stage: String) throws(WorkerFailure) {
        guard result?.succeeded != true else { return }
        throw WorkerFailure(
            .lost, provider: provider, stage: stage, message: "a transfer failed: \(result?.message ?? "no answer")")
    }

    /// Takes what arrived when it is what the worker made; asks for it once more when it was damaged on the way.
    private func checked(
        _ results: [StepResult], _ downloads: [MachineStep], state: inout Progress, speed: Double
    ) async throws -> Outcome {
        var results = results
        for isLast in [false, true] {
            do {
                guard results.count == downloads.count, results.allSatisfy(\.succeeded) else {
                    let failed = results.first { !$0.succeeded }
                    throw DeMLError(.io, "a file did not come: \(failed?.message ?? "no answer")")
                }
                let result = try verified(state)
                state.lease.answers += 1
                state.lease.speed = speed
                return Outcome(lease: state.lease, answer: .success(result), speed: speed)
            } catch let error as DeMLError {
                if isLast {
                    let failure = WorkerFailure(
                        .badResult, provider: provider, stage: "download",
                        message: "what arrived is not what the worker made, twice: \(error.summary)")
                    return Outcome(lease: state.lease, answer: .failure(failure), isProvidersFault: true)
                }
                progress(.stage("download again"))
                results = try await machine.perform(downloads, limit: .seconds(max(15, limit / 2))) { _ in }
            }
        }
        throw DeMLError(.internal, "unreachable")
    }

    private func verified(_ state: Progress) throws(DeMLError) -> WorkerResult {
        let delta = folder + "/delta.safetensors.gz"
        let answer = try DeliveredFiles.verify(
            delta: delta, receipt: try Receipt(contentsOf: folder + "/report.json"), job: job, assignment: assignment)
        let size = (Files.size(of: delta) ?? 0) + (Files.size(of: folder + "/report.json") ?? 0)
        return WorkerResult(
            update: answer.update, report: answer.receipt, training: answer.training, provider: provider,
            bytesUp: state.bytesUp,
            bytesDown: state.bytesDown + size, seconds: 0, deltaPath: delta)
    }

    /// The worker ended with an error: fetches its report, and says what happened in a sentence.
    private func workerFailed(_ result: StepResult?, _ path: String, _ lease: Dispatcher.Lease) async -> Outcome {
        let step = MachineStep.download(GuestFiles.report(assignment), into: path, maximumBytes: 16 << 20)
        // Where the worker could not begin there is none: that is told by its absence.
        _ = try? await machine.perform([step], limit: .seconds(30)) { _ in }
        let report = try? Receipt(contentsOf: path)
        let code = Int32(clamping: result?.exitCode ?? 0)
        let isDataError = report?.refusal != nil
        let failure = WorkerFailure(
            .worker, provider: provider, stage: report?.refusal?.stage ?? "train",
            message: result?.exitCode == nil
                ? "the machine could not run it: \(result?.message ?? "no answer")"
                : Receipt.explanation(exitCode: code, receipt: report),
            exitCode: result?.exitCode.map { Int32(clamping: $0) }, report: report,
            standardErrorTail: result.map { $0.stderr.suffix(4096).harmlessLines(maximum: 4096) })
        // What the worker itself refuses (the data, the options) every machine would refuse; that is nobody's fault.
        return Outcome(lease: lease, answer: .failure(failure), isProvidersFault: !isDataError)
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
