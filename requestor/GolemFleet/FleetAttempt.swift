import Fleets
import Golem
import Jobs
import NeuralNetwork
import Tensors
import Waiting

/// One job on one machine: files in, the program, files out, each answer checked.
struct FleetAttempt: Sendable {
    let job: FleetJob
    let lease: Dispatcher.Lease
    /// Where arriving files are put; names do not repeat.
    let folder: String
    /// Seconds after which the machine counts as too slow: with inputs that stay in it, and again with the work.
    let limit: Double
    let progress: @Sendable (JobProgress) -> Void

    /// What an attempt came to: the machine's new state is in ``lease`` whether it went well or not.
    struct Outcome: Sendable {
        var lease: Dispatcher.Lease
        var answer: Result<JobAnswer, WorkerFailure>
        /// The machine must not be used again.
        var isMachineLost = false
        /// The failure is the provider's doing.
        var isProvidersFault = false
        /// Multiply-adds a second, transfers included.
        var speed: Double?
    }

    private var machine: any TrainingMachine { lease.machine }
    private var provider: Provider { lease.machine.provider }

    /// Uploads that may go on at the same time, over all machines: few large ones, so that the first machines can begin
    /// soon; of small ones more, as those take longer to arrange than to send.
    private static let uploads = (large: WaitQueue(Turns(width: 4)), small: WaitQueue(Turns(width: 64)))
    private static let smallUpload = 256 << 10

    func run() async throws -> Outcome {
        let start = ContinuousClock.now
        var state = Progress(lease: lease)
        var outcome: Outcome
        do {
            outcome = try await attempt(&state)
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
            result.costGLM = cost(seconds, result.receipt)
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
    private func cost(_ seconds: Double, _ receipt: Receipt?) -> Double? {
        machine.price.map { price in
            let told = receipt?.training.map { $0.epochs.reduce(0) { $0 + $1.seconds } } ?? receipt?.machine?.seconds
            return price.perSecond * seconds
                + price.perCPUSecond * min(seconds, told ?? 0) * Double(receipt?.machine?.threads ?? 1)
        }
    }

    private func attempt(_ state: inout Progress) async throws -> Outcome {
        let asked = try job.workerJob(
            path: { GuestFiles.path($0, $1, of: job.kind) }, output: GuestFiles.output(job.kind),
            report: GuestFiles.report(job))
        if let failure = try await sendLastingInputs(&state) { return failure }
        var batch = MachineBatch()
        let uploads = try addUploads(to: &batch, lasting: false, state.lease)
        // As an argument, the job costs no transfer and cannot be damaged on the way; it has about a kilobyte.
        let program = batch.add(.run([GuestFiles.worker, "run", asked.json]))
        let files = addDownloads(to: &batch)
        state.stage = job.kind.name
        // Until the new ones are known to be there, nobody knows what lies in their places.
        for upload in uploads { state.lease.files[upload.path] = nil }
        progress(.stage(job.kind.name))

        let output = Shared(ProgressReader(asked, examples: job.examples))
        let (begin, notIts) = (ContinuousClock.now, machine.timeNotIts)
        let results = try await machine.perform(batch, limit: .seconds(limit)) { text in
            for epoch in output.with({ $0.take(text.utf8) }) { progress(.epoch(epoch)) }
        }
        if let failure = take(uploads, results, &state) { return failure }
        guard results[program].isDone else { return await workerFailed(results[program], state.lease) }
        let seconds = (ContinuousClock.now - begin - (machine.timeNotIts - notIts)).inSeconds
        state.stage = "download"
        return try await checked(
            files.map { results[$0] }, asked, state: &state,
            speed: TrainingWork(job).multiplyAdds / max(seconds, 1e-3))
    }

    /// Inputs that stay in the machine go first, a few at a time over all machines; those that change all the time go with
    /// the program. The outcome when one did not get there.
    private func sendLastingInputs(_ state: inout Progress) async throws -> Outcome? {
        var batch = MachineBatch()
        let uploads = try addUploads(to: &batch, lasting: true, state.lease)
        guard !uploads.isEmpty else { return nil }
        progress(.stage("upload"))
        let sent = batch
        let isSmall = uploads.allSatisfy { $0.file.byteCount <= Self.smallUpload }
        let results = try await (isSmall ? Self.uploads.small : Self.uploads.large).pass {
            try await machine.perform(sent, limit: .seconds(limit)) { _ in }
        }
        return take(uploads, results, &state)
    }

    /// An input on its way to the machine.
    private struct FileUpload {
        var key: MachineBatch.Key
        var path: String
        var file: StoredFile
    }

    /// Adds the inputs that are not in the machine.
    private func addUploads(
        to batch: inout MachineBatch, lasting: Bool, _ lease: Dispatcher.Lease
    ) throws(DeMLError) -> [FileUpload] {
        var uploads: [FileUpload] = []
        for role in WorkerJob.Role.allCases where GuestFiles.isLasting(role, job.kind) == lasting {
            guard let file = try job.inputs[role]?.stored() else { continue }
            let path = GuestFiles.path(role, file, of: job.kind)
            guard lease.files[path] != file.sha256 else { continue }
            uploads.append(FileUpload(key: batch.add(.upload(file.path, to: path)), path: path, file: file))
        }
        return uploads
    }

    /// Notes what is in the machine now; the outcome when a file did not get there, `nil` when all did.
    private func take(_ uploads: [FileUpload], _ results: MachineBatchResults, _ state: inout Progress) -> Outcome? {
        for upload in uploads {
            let result = results[upload.key]
            guard result.isDone else {
                let failure = WorkerFailure(
                    .lost, provider: provider, stage: "upload", message: "a transfer failed: \(result.reason)")
                return Outcome(lease: state.lease, answer: .failure(failure), isProvidersFault: true)
            }
            state.lease.files[upload.path] = upload.file.sha256
            state.bytesUp += upload.file.byteCount
        }
        return nil
    }

    private var outputPath: String? { job.kind.output.map { "\(folder)/\($0).safetensors.gz" } }
    private var reportPath: String { folder + "/report.json" }

    private func addDownloads(to batch: inout MachineBatch) -> [MachineBatch.Key] {
        var keys: [MachineBatch.Key] = []
        if let source = GuestFiles.output(job.kind), let path = outputPath {
            // A delta has the model's numbers; predictions have a row an example.
            let values = max(job.model.parameterCount, job.examples * outputsPerExample)
            keys.append(batch.add(.download(source, into: path, maximumBytes: 8 * values + (4 << 20))))
        }
        keys.append(
            batch.add(.download(GuestFiles.report(job), into: reportPath, maximumBytes: Receipt.maximumBytes)))
        return keys
    }

    /// Values that a prediction has, its class included.
    private var outputsPerExample: Int { job.kind.form.shape(job.model).reduce(1, *) + 2 }

    /// Takes what arrived when it is what the worker made; asks for it once more when it was damaged on the way or did
    /// not come.
    private func checked(
        _ results: [StepResult], _ asked: WorkerJob, state: inout Progress, speed: Double
    ) async throws -> Outcome {
        var results = results
        var isLast = false
        while true {
            do {
                if let missing = results.first(where: { !$0.isDone }) {
                    throw DeMLError(.missing, "a file did not come: \(missing.reason)")
                }
                let answer = try verified(asked, state)
                state.lease.answers += 1
                // Of work that was cut short nobody knows how much it was.
                let speed = answer.receipt.training?.stoppedEarly == true ? nil : speed
                state.lease.speed = speed ?? state.lease.speed
                return Outcome(lease: state.lease, answer: .success(answer), speed: speed)
            } catch let error as DeMLError {
                // Our own disk is nobody's fault, and no other machine would help.
                if [.io, .diskFull, .permission].contains(error.code) { throw error }
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

    private func verified(_ asked: WorkerJob, _ state: Progress) throws(DeMLError) -> JobAnswer {
        let answer = try DeliveredFiles.verify(
            output: outputPath, receipt: try Receipt(contentsOf: reportPath), asked: asked, of: job)
        let size = (outputPath.flatMap(Files.size(of:)) ?? 0) + (Files.size(of: reportPath) ?? 0)
        return JobAnswer(
            receipt: answer.receipt, output: answer.output, provider: provider, bytesUp: state.bytesUp,
            bytesDown: state.bytesDown + size, seconds: 0, outputPath: outputPath)
    }

    /// The worker ended with an error: fetches its report, and says what happened in a sentence.
    private func workerFailed(_ result: StepResult, _ lease: Dispatcher.Lease) async -> Outcome {
        var batch = MachineBatch()
        _ = batch.add(.download(GuestFiles.report(job), into: reportPath, maximumBytes: Receipt.maximumBytes))
        // Where the worker could not begin there is none: that is told by its absence.
        _ = try? await machine.perform(batch, limit: .seconds(30)) { _ in }
        let receipt = try? Receipt(contentsOf: reportPath)
        let refusal = receipt?.refusal
        let code = result.exitCode
        let failure = WorkerFailure(
            .worker, provider: provider, stage: refusal?.stage ?? job.kind.name,
            message: result.exitCode == nil
                ? "the machine could not run it: \(result.reason)"
                : Receipt.explanation(exitCode: Int32(clamping: result.exitCode ?? 0), receipt: receipt),
            exitCode: result.exitCode.map { Int32(clamping: $0) }, report: receipt,
            standardErrorTail: result.stderr.suffix(4096).harmlessLines(maximum: 4096))
        // What the worker itself refuses (the data, the options) every machine would refuse: whether that is so is found out
        // by whoever gave the job.
        return Outcome(
            lease: lease, answer: .failure(failure), isProvidersFault: refusal?.isOfThisMachine(exitCode: code) ?? true)
    }
}
