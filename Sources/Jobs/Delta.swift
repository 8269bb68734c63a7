import NeuralNetwork
import Tensors

/// What training on one shard changed: local weights minus received ones, with what they came from.
///
/// A file's bytes depend on its content only, so the same work gives the same SHA-256 on every machine.
public struct Delta: Sendable, Equatable {
    /// Every parameter's change, in the order of `model.parameters`.
    public var parameters: [Float]
    /// Examples in the shard: the weight of this delta in an average.
    public var examples: Int
    /// Optimiser steps that were done.
    public var steps: Int
    /// SHA-256 of the weights file that training started from.
    public var weightsSHA256: String
    /// SHA-256 of the shard file.
    public var shardSHA256: String
    public var options: TrainingOptions
    /// SHA-256 of the delta file's bytes as stored; nil before it is written.
    public private(set) var sha256: String?
    /// Size of the delta file as stored; nil before it is written.
    public private(set) var byteCount: Int?

    public init(
        parameters: [Float], examples: Int, steps: Int, weightsSHA256: String, shardSHA256: String,
        options: TrainingOptions
    ) {
        self.parameters = parameters
        self.examples = examples
        self.steps = steps
        self.weightsSHA256 = weightsSHA256
        self.shardSHA256 = shardSHA256
        self.options = options
    }

    private enum Key {
        static let examples = "deml.examples"
        static let steps = "deml.steps"
        static let weights = "deml.weights_sha256"
        static let shard = "deml.shard_sha256"
        static let options = "deml.options"
    }

    // MARK: - Reading

    /// Reads a delta and checks it against the model it was made from: every tensor is there, has the right shape and is
    /// finite; the metadata is complete.
    /// Throws what reading a file throws, `missing`, `mismatch`, `shape`, `dtype`, `notFinite` and `malformed`.
    public init(contentsOf path: String, model: ModelDescription) throws(DeMLError) {
        // Mapped, so that its numbers are copied once: what came from a worker is complete before it is looked at.
        let file = try MappedFile(path, maximumBytes: Self.maximumBytes(of: model))
        do throws(DeMLError) {
            try self.init(stored: ByteRegion(file), model: model)
        } catch {
            throw error.within(path)
        }
    }

    /// Reads a delta's bytes as stored, gzip or not.
    public init(storedBytes bytes: [UInt8], model: ModelDescription) throws(DeMLError) {
        try self.init(stored: ByteRegion(bytes), model: model)
    }

    private init(stored: ByteRegion, model: ModelDescription) throws(DeMLError) {
        let file = try Safetensors(stored: stored, maximumBytes: Self.maximumBytes(of: model))
        self.init(
            parameters: try Weights.collect(file, model),
            examples: try file.count(Key.examples), steps: try file.count(Key.steps),
            weightsSHA256: try file.digest(Key.weights), shardSHA256: try file.digest(Key.shard),
            options: try TrainingOptions(json: try file.text(Key.options)))
        sha256 = stored.sha256()
        byteCount = stored.count
    }

    /// A delta holds the model's numbers, in F64 at most, and a header: anything larger is refused before it is read.
    private static func maximumBytes(of model: ModelDescription) -> Int {
        8 * model.parameterCount + 1024 * model.parameters.count + (1 << 20)
    }

    /// Refuses a delta that does not come from these weights, this shard and these options.
    public func check(
        weightsSHA256: String, shardSHA256: String, options: TrainingOptions? = nil
    ) throws(DeMLError) {
        guard self.weightsSHA256 == weightsSHA256 else {
            throw DeMLError(
                .mismatch, "the delta is for the weights \(self.weightsSHA256), but \(weightsSHA256) were sent")
        }
        guard self.shardSHA256 == shardSHA256 else {
            throw DeMLError(.mismatch, "the delta is for the shard \(self.shardSHA256), but \(shardSHA256) was sent")
        }
        if let options, self.options != options {
            throw DeMLError(
                .mismatch,
                "the delta was made with the options \(self.options.canonicalJSON), but \(options.canonicalJSON) were sent"
            )
        }
    }

    // MARK: - Writing

    /// Writes the delta by rename; gzip without time and name where the path ends in `.gz`. Remembers its digest.
    public mutating func write(to path: String, model: ModelDescription) throws(DeMLError) {
        sha256 = try safetensors(model).write(to: path)
        byteCount = Files.size(of: path)
    }

    /// The delta as a safetensors file.
    public func safetensors(_ model: ModelDescription) -> Safetensors {
        Safetensors(
            tensors: Weights.tensors(parameters, model),
            metadata: [
                Key.examples: String(examples), Key.steps: String(steps), Key.weights: weightsSHA256,
                Key.shard: shardSHA256, Key.options: options.canonicalJSON,
            ])
    }
}

extension Safetensors {
    fileprivate func text(_ key: String) throws(DeMLError) -> String {
        guard let text = metadata[key] else {
            throw DeMLError(.missing, "the file has no \(key) in its metadata", hint: "is it a delta of DeML?")
        }
        return text
    }

    fileprivate func count(_ key: String) throws(DeMLError) -> Int {
        let text = try text(key)
        guard let number = Int(text), number >= 0, String(number) == text else {
            throw DeMLError(.malformed, "\(key) is \(text.quotedForMessage), not a count")
        }
        return number
    }

    fileprivate func digest(_ key: String) throws(DeMLError) -> String {
        let text = try text(key)
        guard text.isSHA256 else {
            throw DeMLError(.malformed, "\(key) is \(text.quotedForMessage), not a SHA-256")
        }
        return text
    }
}
