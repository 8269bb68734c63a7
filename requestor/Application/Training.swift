import Datasets
import Federation
import Fleets
import Foundation
import GolemFleet
import NeuralNetwork
import Reports
import Synchronization
import TensorBoard
import Tensors

/// A run to begin, or to go on with.
public struct TrainRequest: Sendable {
    /// A YAML file with settings; paths in it are seen from its folder.
    public var file: String?
    /// The folder of a run to go on with; its settings are taken instead of a file's.
    public var resume: String?
    /// Settings that override those, by the keys of the file; paths in them are seen from the working folder.
    public var settings: [(key: String, text: String)]
    /// The same for the keys under `golem:`.
    public var golem: [String: String]
    /// The program `deml-worker`, for the local fleet; else it is looked for beside the program and in PATH.
    public var worker: String?
    /// Settings as YAML or JSON instead of a file's; paths in them are seen from the working folder.
    public var document: String?

    public init(
        file: String? = nil, resume: String? = nil, settings: [(key: String, text: String)] = [],
        golem: [String: String] = [:], worker: String? = nil, document: String? = nil
    ) {
        self.document = document
        self.file = file
        self.resume = resume
        self.settings = settings
        self.golem = golem
        self.worker = worker
    }
}

/// A run that was started.
public final class RunHandle: Sendable {
    public let folder: RunFolder
    public let configuration: RunConfiguration
    /// What was decided about the data.
    public let decisions: [Decision]
    /// The YAML of a model that was chosen because none was given.
    public let chosenModel: String?
    /// What happens in it, for any number of readers.
    public let feed: RunFeed
    private let task: Task<Summary, any Error>
    private let said: Warnings

    /// What went wrong beside the run itself, complete once the run has ended.
    public var warnings: [String] { said.list.withLock { $0 } }

    private final class Warnings: Sendable {
        let list = Mutex<[String]>([])
    }

    init(_ run: Run, _ plan: RunPlan, decisions: [Decision], model: String?) {
        self.decisions = decisions
        chosenModel = model
        folder = plan.folder
        configuration = plan.configuration
        feed = run.feed
        // The page is written by a reader of the feed like any other.
        let report = LiveReport(plan.folder)
        let reporting = run.feed.observe(from: .beginning) { report.handle($0) }
        let curves = plan.configuration.output.tensorBoard ? TensorBoardObserver(run.feed, plan.folder) : nil
        let said = Warnings()
        self.said = said
        task = Task { [folder] in
            let result: Result<Summary, any Error>
            do { result = .success(try await run.run()) } catch { result = .failure(error) }
            // The last page is the whole one.
            if await !reporting.finished() { reporting.stop() }
            if let warning = await curves?.finish() { said.list.withLock { $0.append(warning) } }
            switch result {
            case .success(let summary):
                try RunReporting.write(folder)
                return summary
            case .failure(let error):
                try? RunReporting.write(folder)
                throw error
            }
        }
    }

    /// Ends the run: workers stop, finished rounds are kept.
    public func cancel() { task.cancel() }

    /// How the run ended. Cancelling the task that waits here cancels the run.
    /// - Throws: what ended it; `RunInterrupted` when it was cancelled.
    public func summary() async throws -> Summary {
        try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }
}

extension Application {
    /// Starts a run, or goes on with one. Everything that can be wrong with its settings, data and fleet is found before
    /// this returns.
    public func start(_ request: TrainRequest) throws -> RunHandle {
        let begun = Date()
        if request.resume != nil, let file = request.file {
            throw DeMLError(
                .usage, "--resume takes its settings from the run, not from \(file)",
                hint: "leave out the file; options may still change what does not change the result")
        }
        let resumed = request.resume.map { RunFolder(path: paths.resolved($0)) }
        if let resumed, !Files.exists(resumed.config) {
            throw DeMLError(
                .notFound, "there is no run in this folder: config.json is missing", place: paths.shown(resumed.path))
        }
        let settings = try TrainSettings(
            file: request.file, resumed: resumed?.config, given: request.settings, golem: request.golem, paths: paths,
            document: request.document)
        var configuration = settings.configuration
        guard configuration.federation.repetitions == 1 else {
            throw DeMLError(.usage, "a single run is started with repeat 1", place: "repeat")
        }
        if let output = configuration.output.folder, resumed == nil, Files.exists(RunFolder(path: output).config) {
            throw DeMLError(
                .cannotCreate, "there is a run in this folder already", place: paths.shown(output),
                hint: "go on with it by --resume \(paths.shown(output)), or choose another --output")
        }
        var data = try TrainingData(&configuration, given: settings.given, resumed: resumed, paths)
        var weights: Weights?
        if let path = configuration.model.initialWeights, case .description(let model)? = configuration.model.source,
            let found = try ForeignWeights.read(path, for: model)
        {
            weights = found.weights
            data.decisions.append(found.decision)
        }
        // Two runs that begin at the same time each get a folder of their own.
        let reserved =
            resumed == nil && configuration.output.folder == nil ? try paths.reserveRunFolder(name: settings.name) : nil
        let folder = resumed ?? RunFolder(path: configuration.output.folder ?? reserved ?? "")
        do {
            configuration.output.folder = folder.path
            let plan: RunPlan
            do {
                plan = try RunPlan(
                    configuration: configuration, dataset: data.dataset, folder: folder, weights: weights)
            } catch let error as DeMLError
                where error.exitCode == 65
                && error.place?.hasPrefix(configuration.model.initialWeights ?? "/\0") != true
            {
                throw error.within(paths.shown(configuration.data.path))
            }
            if let weights = plan.classWeights {
                let names = data.dataset.schema.classNames ?? []
                let texts = weights.enumerated().map { index, weight in
                    let name = names.indices.contains(index) ? names[index].quotedForMessage : "\(index)"
                    return "\(name) \(Figures.short((weight * 1000).rounded() / 1000))"
                }
                data.decisions.append(Decision("weights", "of the classes: \(texts.joined(separator: ", "))"))
            }
            let fleet = try fleet(for: plan, worker: request.worker)
            return RunHandle(
                Run(plan, fleet: fleet, resume: resumed != nil, begun: begun), plan, decisions: data.decisions,
                model: data.chosenModel)
        } catch {
            if let reserved { try? FileManager.default.removeItem(atPath: reserved) }
            throw error
        }
    }

    /// The program of the local fleet: the one given, or one beside this program or in PATH.
    func workerProgram(_ given: String?) throws(DeMLError) -> String {
        let path = environment["PATH"] ?? ""
        guard
            let worker = given.map({ paths.resolved($0) })
                ?? LocalFleet.findWorker(beside: paths.executable, path: path)
        else {
            throw DeMLError(
                .notFound, "deml-worker is neither beside deml nor in the folders of PATH",
                hint: "swift build -c release --product deml-worker, or name it by --worker")
        }
        return worker
    }

    /// The fleet that the settings ask for.
    private func fleet(for plan: RunPlan, worker given: String?) throws -> any Fleet {
        let configuration = plan.configuration
        switch configuration.machines.fleet {
        case .local:
            return try LocalFleet(worker: try workerProgram(given), configuration: configuration)
        case .simulated:
            return SimulatedFleet(threads: configuration.machines.parallel)
        case .golem:
            // Everything that is wrong with the settings is found before anything is spent.
            let (settings, problems) = readGolemSettings(configuration.golem)
            guard problems.isEmpty else {
                throw DeMLError(
                    .usage, problems.joined(separator: "\n"), hint: "deml train --help tells the options of Golem")
            }
            return try GolemFleet(settings: settings, environment: environment)
        }
    }
}
