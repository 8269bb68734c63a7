import Federation
import Foundation
import Tensors
import Worker

/// Everything that a person can ask of DeML: train, go on, look, compare, use a model, rent.
///
/// Knows no terminal, no arguments and no web: `deml` and every other face of the program turn what they are told into calls
/// of this, and show what comes back. It takes nothing from the process it runs in either; folder, program and environment
/// are given.
public struct Application: Sendable {
    public let paths: Paths
    public let environment: [String: String]

    /// - Parameters:
    ///   - workingFolder: where relative paths begin.
    ///   - executable: path of the program, links followed; what comes with DeML is found beside it.
    public init(workingFolder: String, executable: String, environment: [String: String]) {
        paths = Paths(workingFolder: workingFolder, executable: executable, home: environment["HOME"])
        self.environment = environment
    }

    /// Writes `report.html` of a run anew.
    /// - Returns: its path.
    public func report(_ run: String) throws -> String {
        let folder = try existingRun(run)
        try RunReporting.write(folder)
        return folder.report
    }

    /// What is in a weights, shard, delta or predictions file, or in a model file of another tool.
    /// - Parameter inputShape: of one example, where a model of another tool leaves a size open.
    public func inspect(_ file: String, inputShape: [Int]? = nil) throws -> FileInspection {
        try FileInspection(paths.resolved(file), inputShape: inputShape)
    }

    /// Everything that happens in a run, whichever process works on it: what is in its journal, then live, until nobody
    /// works on it any more.
    public func follow(_ run: String, after position: JournalPosition = .beginning) throws -> RunFollower {
        RunFollower(try existingRun(run), after: position)
    }

    func existingRun(_ run: String) throws(DeMLError) -> RunFolder {
        let folder = RunFolder(path: paths.resolved(run))
        guard Files.exists(folder.config) else {
            throw DeMLError(.notFound, "there is no run in this folder", place: paths.shown(folder.path))
        }
        return folder
    }
}
