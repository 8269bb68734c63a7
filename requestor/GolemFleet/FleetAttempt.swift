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
        /// Multiply-adds a second, transfers included.
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
            // A file of ours that cannot be read or written is no machine's doing, and no other machine would help.
            if error.code == .io { throw GolemFleet.readable(error) }
            let isLate = machine.isLost && error.code == .timedOut
            let failure = WorkerFailure(
                isLate ? .late : .lost, provider: provider, stage: state.stage,
                message: isLate ? "no answer after \(Int(limit.rounded())) s" : explained(error))
            // While the machine is not lost it is our daemon that failed.
            outcome = Outcome(
                lease: state.lease, answer: .failure(failure), isMachineLost: machine.isLost,
                isProvidersFault: machine.isLost && error.isProvidersFault)
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

    private func explained(_ error: GolemError) -> String {
        guard error.code == .expired else { return error.message }
        return "its agreement ended before the work did; give max_seconds, so that work is cut to what an agreement "
            + "holds, or smaller shards"
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
        if !state.lease.shards.contains(assignment.client) {
            progress(.stage("upload"))
            var batch = MachineBatch()
            let upload = batch.add(.upload(shard.path, to: GuestFiles.shard(assignment.client)))
            let sent = batch
            let results = try await Self.uploads.pass {
                try await machine.perform(sent, limit: .seconds(limit)) { _ in }
            }
            if let failure = failedUpload(results[upload], state) { return failure }
            state.lease.shards.insert(assignment.client)
            state.bytesUp += shard.byteCount
        }
        var batch = MachineBatch()
        let upload =
            state.lease.weights == weights.sha256
            ? nil : batch.add(.upload(weights.path, to: GuestFiles.weights))
        // As an argument, the job costs no transfer and cannot be damaged on the way; it has about a kilobyte.
        let program = batch.add(.run([GuestFiles.worker, "run", job.json]))
        let files = addDownloads(to: &batch)
        state.stage = "train"
        state.lease.weights = nil
        progress(.stage("train"))

        let output = Shared(ProgressReader(job))
        let left = Duration.seconds(max(1, limit - (ContinuousClock.now - start).inSeconds))
        let begin = ContinuousClock.now
        let results = try await machine.perform(batch, limit: left) { text in
            for epoch in output.with({ $0.take(text.utf8) }) { progress(.epoch(epoch)) }
        }
        if let upload {
            if let failure = failedUpload(results[upload], state) { return failure }
            state.bytesUp += weights.byteCount
        }
        state.lease.weights = weights.sha256
        guard results[program].isDone else { return await workerFailed(results[program], state.lease) }
        let seconds = (ContinuousClock.now - begin).inSeconds
        state.stage = "download"
        return try await checked(
            files.map { results[$0] }, state: &state,
            speed: TrainingWork(assignment).multiplyAdds / max(seconds, 1e-3))
    }

    private var deltaPath: String { folder + "/delta.safetensors.gz" }
    private var reportPath: String { folder + "/report.json" }

    private func addDownloads(to batch: inout MachineBatch) -> [MachineBatch.Key] {
        let parameters = assignment.weights.weights.model.parameterCount
        return [
            batch.add(.download(GuestFiles.delta, into: deltaPath, maximumBytes: 8 * parameters + (4 << 20))),
            batch.add(.download(GuestFiles.report(assignment), into: reportPath, maximumBytes: 16 << 20)),
        ]
    }

    /// The outcome when a file did not get to the machine; `nil` when it did.
    private func failedUpload(_ result: StepResult, _ state: Progress) -> Outcome? {
        guard !result.isDone else { return nil }
        let failure = WorkerFailure(
            .lost, provider: provider, stage: "upload", message: "a transfer failed: \(result.reason)")
        return Outcome(lease: state.lease, answer: .failure(failure), isProvidersFault: true)
    }

    /// Takes what arrived when it is what the worker made; asks for it once more when it was damaged on the way or did
    /// not come.
    private func checked(
        _ results: [StepResult], state: inout Progress, speed: Double
    ) async throws -> Outcome {
        var results = results
        var isLast = false
        while true {
            do {
                if let missing = results.first(where: { !$0.isDone }) {
                    throw DeMLError(.io, "a file did not come: \(missing.reason)")
                }
                let result = try verified(state)
                state.lease.answers += 1
                // Of work that was cut short nobody knows how much it was.
                let speed = result.training.stoppedEarly ? nil : speed
                state.lease.speed = speed ?? state.lease.speed
                return Outcome(lease: state.lease, answer: .success(result), speed: speed)
            } catch let error as DeMLError {
                if isLast {
                    let failure = WorkerFailure(
                        .badResult, provider: provider, stage: "download",
                        message: "what arrived is not what the worker made, twice: \(error.summary)")
                    return Outcome(lease: state.lease, answer: .failure(failure), isProvidersFault: true)
                }
                isLast = true
                progress(.stage("download again"))
                var batch = MachineBatch()
                let files = addDownloads(to: &batch)
                let again = try await machine.perform(batch, limit: .seconds(max(15, limit / 2))) { _ in }
                results = files.map { again[$0] }
            }
        }
    }

    private func verified(_ state: Progress) throws(DeMLError) -> WorkerResult {
        let answer = try DeliveredFiles.verify(
            delta: deltaPath, receipt: try Receipt(contentsOf: reportPath), job: job, assignment: assignment)
        let size = (Files.size(of: deltaPath) ?? 0) + (Files.size(of: reportPath) ?? 0)
        return WorkerResult(
            update: answer.update, report: answer.receipt, training: answer.training, provider: provider,
            bytesUp: state.bytesUp, bytesDown: state.bytesDown + size, seconds: 0, deltaPath: deltaPath)
    }

    /// The worker ended with an error: fetches its report, and says what happened in a sentence.
    private func workerFailed(_ result: StepResult, _ lease: Dispatcher.Lease) async -> Outcome {
        var batch = MachineBatch()
        _ = batch.add(.download(GuestFiles.report(assignment), into: reportPath, maximumBytes: 16 << 20))
        // Where the worker could not begin there is none: that is told by its absence.
        _ = try? await machine.perform(batch, limit: .seconds(30)) { _ in }
        let report = try? Receipt(contentsOf: reportPath)
        let code = Int32(clamping: result.exitCode ?? 0)
        let isDataError = report?.refusal != nil
        let failure = WorkerFailure(
            .worker, provider: provider, stage: report?.refusal?.stage ?? "train",
            message: result.exitCode == nil
                ? "the machine could not run it: \(result.reason)"
                : Receipt.explanation(exitCode: code, receipt: report),
            exitCode: result.exitCode.map { Int32(clamping: $0) }, report: report,
            standardErrorTail: result.stderr.suffix(4096).harmlessLines(maximum: 4096))
        // What the worker itself refuses (the data, the options) every machine would refuse; that is nobody's fault.
        return Outcome(lease: lease, answer: .failure(failure), isProvidersFault: !isDataError)
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
