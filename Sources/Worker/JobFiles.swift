import Jobs
import NeuralNetwork
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

// MARK: - Reading

/// What was in an input file, with the digest of the file.
struct Loaded<Value> {
    var value: Value
    var sha256: String
}

/// The tensors of a shard; for predictions there may be no labels.
struct ShardTensors {
    var x: Tensor
    var y: Tensor?
}

/// A compressed file may not expand to more than half of the memory that is free. One that is not compressed stays in
/// its file.
func maximumFileBytes() -> Int {
    min(4 << 30, availableMemory() / 2)
}

/// The file of an input, which must be the one that the job means where it says so.
/// - Parameter expanded: where a compressed file goes that is larger than memory; nil: it is refused.
private func load(_ input: WorkerJob.Input, expanded: String? = nil) throws(DeMLError) -> Loaded<Safetensors> {
    // Mapped: the files of a job are complete before it begins, and nobody writes to them.
    let file: Safetensors
    let sha256: String
    do throws(DeMLError) {
        (file, sha256) = try Safetensors.load(input.path, maximumBytes: maximumFileBytes(), mapping: true)
    } catch {
        guard let expanded, error.code == .tooLarge, Gzip.isGzip(try Files.prefix(of: input.path, count: 2)) else {
            throw error
        }
        sha256 = try Safetensors.expand(input.path, to: expanded)
        // Mapped, the file needs no name any more: nothing is left of it, however the job ends.
        defer { try? Files.remove(expanded) }
        file = try Safetensors(contentsOf: expanded, maximumBytes: .max, mapping: true)
    }
    if let expected = input.sha256, sha256 != expected {
        throw DeMLError(
            .mismatch, "the file is not the one of the job: its SHA-256 is \(sha256), not \(expected)",
            place: input.path, hint: "it was damaged on the way, or another was sent")
    }
    return Loaded(value: file, sha256: sha256)
}

/// The weights as `read` takes them from the file: in an array to change them, or where they are.
func loadWeights<Value>(
    _ input: WorkerJob.Input, _ stage: inout Stage, as read: (Safetensors) throws(DeMLError) -> Value
) throws(DeMLError) -> Loaded<Value> {
    stage = Stage("read-weights", file: input.path)
    let file = try load(input)
    do throws(DeMLError) {
        return Loaded(value: try read(file.value), sha256: file.sha256)
    } catch {
        throw error.within(input.path)
    }
}

/// - Parameter expanded: the name of a file that may be made beside the results while a shard is larger than memory.
func loadShard(
    _ input: WorkerJob.Input, expanded: String? = nil, _ stage: inout Stage
) throws(DeMLError) -> Loaded<ShardTensors> {
    stage = Stage("read-shard", file: input.path)
    let file = try load(input, expanded: expanded)
    guard let x = file.value["x"] else {
        throw DeMLError(
            .missing, "a shard needs a tensor 'x'", place: input.path, hint: "is it a shard of DeML?")
    }
    return Loaded(value: ShardTensors(x: x, y: file.value["y"]), sha256: file.sha256)
}

/// The examples of a shard, checked against the model.
func loadExamples(
    _ input: WorkerJob.Input, expanded: String? = nil, for model: ModelDescription, _ stage: inout Stage
) throws(DeMLError) -> Loaded<Examples> {
    let shard = try loadShard(input, expanded: expanded, &stage)
    guard let y = shard.value.y else {
        throw DeMLError(
            .missing, "the shard has no tensor 'y'", place: input.path, hint: "only predict goes without labels")
    }
    do throws(DeMLError) {
        return Loaded(value: try Examples(x: shard.value.x, y: y, for: model), sha256: shard.sha256)
    } catch {
        throw error.within(input.path)
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
