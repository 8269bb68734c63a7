import NeuralNetwork
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a task is doing, for its report.
public struct Stage: Sendable, Equatable {
    public var name: String
    /// The file that is being read or written.
    public var file: String?

    public init(_ name: String, file: String? = nil) {
        self.name = name
        self.file = file
    }
}

/// How a task ended: its report, and the error where there is one.
public struct TaskOutcome: Sendable {
    public var report: Report
    public var error: DeMLError?

    /// 0, or the code of sysexits.h that belongs to the error.
    public var exitCode: Int32 { error?.exitCode ?? 0 }
}

/// One thing a worker does with files: reads some, writes one, and leaves a report.
public protocol WorkerTask: Sendable {
    /// Its name on the command line.
    static var command: String { get }
    var reportPath: String { get }

    /// Does it. Keeps `stage` up to date, so that an error is reported with the stage it happened in.
    func perform(stage: inout Stage, progress: (TaskProgress) -> Void) throws(DeMLError) -> Report
}

/// What a watching parent learns while a task goes on.
public enum TaskProgress: Sendable, Equatable {
    /// An epoch is done. `number` counts from 1.
    case epoch(number: Int, of: Int, loss: Double, accuracy: Double?, samplesPerSecond: Double)
    /// The delta is written.
    case delta(sha256: String)
}

extension WorkerTask {
    /// Does the task and writes its report in every case: first one with the status `running`, at the end the result.
    ///
    /// A report that cannot be written is an error too: without it nobody learns how the task went. That is found
    /// before the work begins.
    public func run(progress: (TaskProgress) -> Void = { _ in }) -> TaskOutcome {
        var stage = Stage("write-report", file: reportPath)
        do throws(DeMLError) {
            try Report(status: .running, command: Self.command).write(to: reportPath)
            var report = try perform(stage: &stage, progress: progress)
            stage = Stage("write-report", file: reportPath)
            report.status = .ok
            try report.write(to: reportPath)
            return TaskOutcome(report: report, error: nil)
        } catch {
            let report = Report(command: Self.command, stage: stage, error: error)
            // Where even this fails, the exit code and the line on stderr are all that is left.
            try? report.write(to: reportPath)
            return TaskOutcome(report: report, error: error)
        }
    }
}

// MARK: - Reading

/// Weights with the digest of their file.
struct LoadedWeights {
    var weights: Weights
    var sha256: String
}

/// Labelled (or, for predictions, unlabelled) inputs with the digest of their file.
struct LoadedShard {
    var x: Tensor
    var y: Tensor?
    var sha256: String
}

/// A file may not expand to more than half of the memory that is free: it is held once as it is read, and once as
/// tensors.
func maximumFileBytes() -> Int {
    min(4 << 30, availableMemory() / 2)
}

func loadWeights(_ path: String, stage: inout Stage) throws(DeMLError) -> LoadedWeights {
    stage = Stage("read-weights", file: path)
    let (file, sha256) = try Safetensors.load(path, maximumBytes: maximumFileBytes())
    do throws(DeMLError) {
        return LoadedWeights(weights: try Weights(file), sha256: sha256)
    } catch {
        throw error.within(path)
    }
}

func loadShard(_ path: String, stage: inout Stage) throws(DeMLError) -> LoadedShard {
    stage = Stage("read-shard", file: path)
    let (file, sha256) = try Safetensors.load(path, maximumBytes: maximumFileBytes())
    guard let x = file["x"] else {
        throw DeMLError(.missing, "a shard needs a tensor 'x'", place: path, hint: "is it a shard of DeML?")
    }
    return LoadedShard(x: x, y: file["y"], sha256: sha256)
}

/// The examples of a shard, checked against the model.
func loadExamples(
    _ path: String, for model: ModelDescription, stage: inout Stage
) throws(DeMLError) -> (examples: Examples, sha256: String) {
    let shard = try loadShard(path, stage: &stage)
    guard let y = shard.y else {
        throw DeMLError(.missing, "the shard has no tensor 'y'", place: path, hint: "only predict goes without labels")
    }
    do throws(DeMLError) {
        return (try Examples(x: shard.x, y: y, for: model), shard.sha256)
    } catch {
        throw error.within(path)
    }
}

// MARK: - Machine

/// Processors this process may run on: what a lease or a container leaves to it.
public func availableProcessors() -> Int {
    max(1, ProcessInfo.processInfo.activeProcessorCount)
}

/// Seconds since `start`.
func seconds(since start: ContinuousClock.Instant) -> Double {
    start.duration(to: .now).seconds
}

/// So many a second, where a clock may be too coarse to see any time pass.
func rate(_ count: Int, _ seconds: Double) -> Double {
    Double(count) / max(seconds, 1e-9)
}

extension Duration {
    /// As a number of seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
