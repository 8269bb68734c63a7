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

/// A compressed file may not expand to more than half of the memory that is free. One that is not compressed stays in
/// its file.
func maximumFileBytes() -> Int {
    min(4 << 30, availableMemory() / 2)
}

/// The file of an input, which must be the one that the job means where it says so.
private func load(_ input: WorkerJob.Input) throws(DeMLError) -> Loaded<Safetensors> {
    // Mapped: the files of a job are complete before it begins, and nobody writes to them.
    let (file, sha256) = try Safetensors.load(input.path, maximumBytes: maximumFileBytes(), mapping: true)
    try input.check(sha256)
    return Loaded(value: file, sha256: sha256)
}

extension WorkerJob.Input {
    /// Refuses a file that is not the one of the job.
    fileprivate func check(_ found: String) throws(DeMLError) {
        guard let sha256, found != sha256 else { return }
        throw DeMLError(
            .mismatch, "the file is not the one of the job: its SHA-256 is \(found), not \(sha256)",
            place: path, hint: "it was damaged on the way, or another was sent")
    }
}

extension WorkerJob.Input {
    /// The state of a training that is in the file.
    func state() throws(DeMLError) -> TrainerState {
        let file = try load(self)
        do throws(DeMLError) { return try TrainerState(file.value) } catch { throw error.within(path) }
    }
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

/// The tensors of a shard: in memory (or mapped), or in the file where they are larger than it.
private enum ShardFile {
    case loaded(Safetensors)
    case stored(SafetensorsFile)

    /// - Parameter expanded: the name of a file that may be made while a compressed shard is larger than memory.
    static func load(_ input: WorkerJob.Input, expanded: String) throws(DeMLError) -> Loaded<ShardFile> {
        let path = input.path
        if let size = Files.size(of: path), size > availableMemory() / 2,
            !Gzip.isGzip(try Files.prefix(of: path, count: 2))
        {
            let file = try SafetensorsFile(path)
            let sha256 = try file.sha256()
            try input.check(sha256)
            return Loaded(value: .stored(file), sha256: sha256)
        }
        do throws(DeMLError) {
            let file = try Worker.load(input)
            return Loaded(value: .loaded(file.value), sha256: file.sha256)
        } catch {
            guard error.code == .tooLarge, Gzip.isGzip(try Files.prefix(of: path, count: 2)) else { throw error }
        }
        let sha256 = try Safetensors.expand(path, to: expanded)
        // Held open, the file needs no name any more: nothing is left of it, however the job ends.
        defer { try? Files.remove(expanded) }
        try input.check(sha256)
        return Loaded(value: .stored(try SafetensorsFile(expanded)), sha256: sha256)
    }
}

/// The examples of a shard, checked against the model.
/// - Parameters:
///   - expanded: the name of a file that may be made beside the results while a compressed shard is larger than memory.
///   - needsTargets: whether the shard must have them; without, they are not looked at.
func loadExamples(
    _ input: WorkerJob.Input, expanded: String, for model: ModelDescription, needsTargets: Bool = true,
    _ stage: inout Stage
) throws(DeMLError) -> Loaded<any ExampleSource> {
    stage = Stage("read-shard", file: input.path)
    let shard = try ShardFile.load(input, expanded: expanded)
    do throws(DeMLError) {
        switch shard.value {
        case .loaded(let file):
            let (x, y) = try tensors(file["x"], file["y"], needsTargets: needsTargets)
            return Loaded(value: try Examples(x: x, targets: y, for: model), sha256: shard.sha256)
        case .stored(let file):
            let (x, y) = try tensors(file["x"], file["y"], needsTargets: needsTargets)
            return Loaded(value: try StoredExamples(x: x, targets: y, for: model), sha256: shard.sha256)
        }
    } catch {
        throw error.within(input.path)
    }
}

private func tensors<Stored>(
    _ x: Stored?, _ y: Stored?, needsTargets: Bool
) throws(DeMLError) -> (x: Stored, y: Stored?) {
    guard let x else {
        throw DeMLError(.missing, "a shard needs a tensor 'x'", hint: "is it a shard of DeML?")
    }
    guard needsTargets else { return (x, nil) }
    guard let y else {
        throw DeMLError(.missing, "the shard has no tensor 'y'", hint: "only predict goes without labels")
    }
    return (x, y)
}

// MARK: - Machine

/// Seconds since `start`.
func seconds(since start: ContinuousClock.Instant) -> Double {
    start.duration(to: .now).seconds
}

/// So many a second, where a clock may be too coarse to see any time pass.
func rate(_ count: Int, _ seconds: Double) -> Double {
    Double(count) / max(seconds, 1e-9)
}
