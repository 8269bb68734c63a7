import Foundation
import Jobs
import Synchronization
import Tensors
import Worker

/// Workers on this machine: a process each, with a folder of its own for the job and what comes of it, an empty
/// environment and no stdin. Inputs are read where they are, and a delta that is read at once is not compressed.
public struct LocalFleet: Fleet {
    public let name = "local"
    public let needsFiles = true

    private let worker: String
    private let parallel: Int
    private let threads: Int

    /// - Parameters:
    ///   - worker: path of `deml-worker` (see ``findWorker(beside:)``).
    ///   - parallel: how many processes at once.
    ///   - threads: threads of each where a job does not say; by default the processors are shared out.
    public init(worker: String, parallel: Int, threads: Int? = nil) throws(DeMLError) {
        guard parallel >= 1 else { throw DeMLError(.usage, "at least one worker is needed, not \(parallel)") }
        let path = Self.absolute(worker)
        guard FileManager.default.isExecutableFile(atPath: path), !Files.isDirectory(path) else {
            throw DeMLError(
                .notFound, "there is no worker to start", place: path,
                hint: "build it with: swift build -c release --product deml-worker")
        }
        self.worker = path
        self.parallel = parallel
        self.threads = threads ?? max(1, availableProcessors() / parallel)
    }

    /// `deml-worker` next to the given executable, or in the folders of `PATH`; `nil` when it is in neither.
    /// - Parameter path: the folders of PATH, between colons.
    public static func findWorker(beside executable: String, path: String) -> String? {
        let beside = Files.path(Files.parent(of: executable) ?? ".", "deml-worker")
        let folders = path.split(separator: ":").map(String.init)
        return ([beside] + folders.map { Files.path($0, "deml-worker") })
            .first { FileManager.default.isExecutableFile(atPath: $0) && !Files.isDirectory($0) }
    }

    fileprivate static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }

    public func withSession<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        _ body: @escaping @Sendable (any FleetSession) async throws -> Value
    ) async throws -> SessionEnd<Value> {
        // A name of its own: workers that an earlier run of this folder has left may still be writing.
        let root = Self.absolute(plan.folder) + "/workers-\(ProcessInfo.processInfo.processIdentifier)"
        try Files.createDirectory(root)
        defer { try? FileManager.default.removeItem(atPath: root) }
        let session = LocalSession(worker: worker, threads: threads, root: root, slots: SlotPool(count: parallel))
        return SessionEnd(try await body(session))
    }
}

private struct LocalSession: FleetSession {
    let worker: String
    let threads: Int
    let root: String
    let slots: SlotPool

    func perform(
        _ job: FleetJob, progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> JobAnswer {
        let slot: Int
        do {
            slot = try await slots.acquire(avoiding: Set(job.avoiding.compactMap(Self.slot(ofProvider:))))
        } catch {
            throw WorkerFailure(.cancelled, provider: nil, stage: "start", message: "it was not needed any more")
        }
        defer { slots.release(slot) }
        let provider = Provider(id: "local-\(slot + 1)", name: "local-\(slot + 1)")
        progress(.started(provider))
        var job = job
        job.limits.threads = job.limits.threads ?? threads
        return try await LocalWork(worker: worker, folder: root + "/" + provider.id, provider: provider, job: job)
            .run(progress)
    }

    private static func slot(ofProvider id: String) -> Int? {
        guard id.hasPrefix("local-"), let number = Int(id.dropFirst("local-".count)) else { return nil }
        return number - 1
    }
}

/// One job in one process.
private struct LocalWork {
    let worker: String
    /// Working folder of the process, absolute: the job, the report and the output are in it.
    let folder: String
    let provider: Provider
    let job: FleetJob
    private let start = ContinuousClock.now

    init(worker: String, folder: String, provider: Provider, job: FleetJob) {
        self.worker = worker
        self.folder = folder
        self.provider = provider
        self.job = job
    }

    private var report: String { folder + "/report.json" }

    /// What is kept is kept compressed; what is read at once is not worth the time.
    private var output: String? {
        job.kind.output.map { folder + "/" + $0 + (job.keepsOutput ? ".safetensors.gz" : ".safetensors") }
    }

    func run(_ progress: @escaping @Sendable (JobProgress) -> Void) async throws -> JobAnswer {
        let (asked, bytesUp) = try prepare()
        progress(.stage(job.kind.name))
        let reader = Mutex(ProgressReader(asked, examples: job.examples))
        let process = ChildProcess(
            executable: worker, arguments: ["run", "job.json"], directory: folder, timeLimit: job.timeLimit
        ) { bytes in
            for epoch in reader.withLock({ $0.take(bytes) }) { progress(.epoch(epoch)) }
        }
        let outcome: ChildProcess.Outcome
        do {
            outcome = try await process.run()
        } catch let error as DeMLError {
            throw failure(.lost, "start", error.summary, isRetryable: false, bytesUp: bytesUp)
        }
        let receipt = Result { () throws(DeMLError) in try Receipt(contentsOf: report) }
        let said = try? receipt.get()
        let bytesDown = (output.flatMap(Files.size(of:)) ?? 0) + (Files.size(of: report) ?? 0)
        func failed(_ kind: WorkerFailure.Kind, _ stage: String, _ message: String, retry: Bool = true) -> WorkerFailure
        {
            var failure = failure(kind, stage, message, isRetryable: retry, bytesUp: bytesUp, bytesDown: bytesDown)
            failure.report = said
            failure.exitCode = outcome.exitCode ?? outcome.signal.map { 128 + $0 }
            failure.standardErrorTail = outcome.standardErrorTail.isEmpty ? nil : outcome.standardErrorTail
            return failure
        }
        let stage = said?.refusal?.stage ?? job.kind.name
        if outcome.isLate { throw failed(.late, stage, "it took longer than \(job.timeLimit) s and was killed") }
        if outcome.signal != nil, Task.isCancelled { throw failed(.cancelled, stage, "it was not needed any more") }
        if let signal = outcome.signal {
            throw failed(.lost, stage, Receipt.explanation(exitCode: 128 + signal, receipt: said))
        }
        if let code = outcome.exitCode, code != 0 {
            // On this machine the same data and arguments are refused by every worker.
            throw failed(
                .worker, stage, Receipt.explanation(exitCode: code, receipt: said), retry: code != 64 && code != 65)
        }
        do throws(DeMLError) {
            let answer = try DeliveredFiles.verify(output: output, receipt: try receipt.get(), asked: asked, of: job)
            return JobAnswer(
                receipt: answer.receipt, output: answer.output, provider: provider, bytesUp: bytesUp,
                bytesDown: bytesDown, seconds: seconds, outputPath: job.keepsOutput ? try keptOutput() : nil)
        } catch {
            throw failed(.badResult, "verify", error.summary)
        }
    }

    /// Takes the output out of the way of the next job in this folder.
    private func keptOutput() throws(DeMLError) -> String? {
        guard let output else { return nil }
        let path = folder + "-" + job.name + ".safetensors.gz"
        do { try FileManager.default.moveItem(atPath: output, toPath: path) } catch {
            throw DeMLError(.io, "the \(job.kind.output ?? "output") cannot be kept", place: path, cause: error)
        }
        return path
    }

    /// Writes the job, clears away what a former one has left, and returns the bytes that the worker is given: the job's.
    /// Its inputs the worker reads where they are.
    private func prepare() throws -> (WorkerJob, bytes: Int) {
        do throws(DeMLError) {
            let asked = try job.workerJob(
                path: { _, file in LocalFleet.absolute(file.path) }, output: output, report: report)
            try Files.createDirectory(folder)
            for name in try Files.names(in: folder) { try Files.remove(folder + "/" + name) }
            let text = Array(asked.json.utf8)
            try Files.writeAtomically(text, to: folder + "/job.json")
            return (asked, text.count)
        } catch {
            throw failure(.lost, "upload", error.summary, isRetryable: false, bytesUp: 0)
        }
    }

    private func failure(
        _ kind: WorkerFailure.Kind, _ stage: String, _ message: String, isRetryable: Bool, bytesUp: Int,
        bytesDown: Int = 0
    ) -> WorkerFailure {
        WorkerFailure(
            kind, provider: provider, stage: stage, message: message, isRetryable: isRetryable, bytesUp: bytesUp,
            bytesDown: bytesDown, seconds: seconds)
    }

    private var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }
}
