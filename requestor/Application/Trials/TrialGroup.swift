import Federation
import Foundation
import Tensors

/// Runs that belong together: the same settings, of which each run changes a few. Each lies in a folder of its own, and is
/// a run like any other.
///
/// ```
/// GROUP/settings.json       what all have in common
///     NAME/                 a run
///     repeat.json, sweep.json    what the group is, and what came of it
///     report.html
/// ```
struct TrialGroup: Sendable {
    let folder: String
    let application: Application
    /// The program `deml-worker`, for the local fleet.
    let worker: String?

    var settings: String { folder + "/settings.json" }
    var report: String { folder + "/report.html" }
    func run(_ name: String) -> RunFolder { RunFolder(path: folder + "/" + name) }

    /// Makes the folder of a new group, which must not hold runs.
    func create(_ configuration: RunConfiguration, _ plan: some Encodable, as name: String) throws {
        for file in ["config.json", "settings.json"] where Files.exists(folder + "/" + file) {
            throw DeMLError(
                .cannotCreate, "there are runs in this folder already", place: application.paths.shown(folder),
                hint: "go on with them by --resume \(application.paths.shown(folder)), or choose another --output")
        }
        try Files.createDirectory(folder)
        try Files.writeAtomically(RunJSON.encode(plan), to: folder + "/" + name)
        // Last: where it is, the group is whole.
        try Files.writeAtomically(RunJSON.encode(configuration), to: settings)
    }

    /// Where no model is given: sets what suits the one that each run will choose. The settings of a group say everything, and
    /// its runs would take all of it for a person's word.
    static func settle(_ configuration: inout RunConfiguration, given: Set<String>, _ paths: Paths) throws {
        guard configuration.model.source == nil else { return }
        var settled = configuration
        _ = try TrainingData(&settled, given: given, resumed: nil, paths)
        settled.model = configuration.model
        configuration = settled
    }

    /// Takes back what ``create(_:_:as:)`` has made, as long as there is no run in it.
    func removeIfEmpty(_ name: String) {
        let names = (try? Files.names(in: folder)) ?? []
        guard Set(names).isSubset(of: ["settings.json", name]) else { return }
        for file in names { try? Files.remove(folder + "/" + file) }
        rmdir(folder)
    }

    /// Starts the run of that name, or goes on with it.
    /// - Parameters:
    ///   - changed: settings that a new run has of its own.
    ///   - always: those that a run that is gone on with is given too.
    func start(
        _ name: String, changed: [(key: String, text: String)], always: [(key: String, text: String)] = []
    ) throws -> RunHandle {
        let run = run(name)
        if Files.exists(run.config) {
            return try application.start(TrainRequest(resume: run.path, settings: always, worker: worker))
        }
        return try application.start(
            TrainRequest(file: settings, settings: changed + always + [("output", run.path)], worker: worker))
    }

    func read<Value: Decodable>(_ type: Value.Type, _ name: String) throws(DeMLError) -> Value {
        let path = folder + "/" + name
        let bytes = try Files.read(path, maximumBytes: 1 << 28)
        do { return try RunJSON.decode(type, from: bytes) } catch {
            throw DeMLError(.malformed, "it is not what DeML writes there", place: path, cause: error)
        }
    }
}
