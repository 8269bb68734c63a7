import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A training between two steps: what is needed to go on with it in another trainer, on any machine, bit for bit.
///
/// As a file it is a safetensors file: the weights as in a weights file, the optimiser's arrays as
/// `state.PARAMETER.ARRAY` with torch's names (`state.0.weight.exp_avg`), and in the metadata where training stands, with
/// a digest of it all.
public struct TrainerState: Sendable, Equatable {
    /// As they are now. With an optimiser that keeps nothing, the file can be used as a weights file.
    public let weights: Weights
    /// By torch's name: numbers for every parameter, in the order of `Weights.parameters`.
    let arrays: [String: [Float]]
    package let position: TrainingPosition
    /// SHA-256 of the canonical JSON of the options.
    public let optionsSHA256: String
    /// What else the training depends on, such as digests of its files: kept as given, for who goes on to compare.
    public var inputs: [String: String]

    /// The key of the rest in the metadata.
    public static let key = "deml.state"
    private static let digestKey = "deml.state_sha256"

    /// Optimiser steps done since training began.
    public var steps: Int { position.steps }
    /// The epoch that is in hand, from 0.
    public var epoch: Int { position.epochs.count }

    init(
        weights: Weights, arrays: [String: [Float]], position: TrainingPosition, options: TrainingOptions,
        inputs: [String: String] = [:]
    ) {
        self.weights = weights
        self.arrays = arrays
        self.position = position
        self.inputs = inputs
        optionsSHA256 = Self.digest(of: options)
    }

    static func digest(of options: TrainingOptions) -> String {
        sha256Hex(options.canonicalJSON.utf8)
    }

    // MARK: - File

    /// What stands in the metadata beside model and round.
    private struct Record: Codable {
        var position: TrainingPosition
        var options: String
        var inputs: [String: String]
    }

    /// The file of this state.
    public func safetensors() -> Safetensors {
        var file = weights.safetensors()
        for (name, values) in arrays.sorted(by: { $0.key < $1.key }) {
            for (parameter, tensor) in Weights.tensors(values, weights.model) {
                file.tensors.append((Self.name(parameter, name), tensor))
            }
        }
        file.metadata[Self.key] = canonicalJSON(Record(position: position, options: optionsSHA256, inputs: inputs))
        return Self.sealed(file)
    }

    /// The file with the digest of its content.
    package static func sealed(_ file: Safetensors) -> Safetensors {
        var file = file
        file.metadata[digestKey] = nil
        file.metadata[digestKey] = digest(of: file)
        return file
    }

    /// Writes the state: whole or not at all, in place of an older one.
    public func write(to path: String) throws(DeMLError) {
        try safetensors().write(to: path)
    }

    /// Reads a state. Throws what reading any file throws, and `mismatch` where its digest is not that of its content.
    /// Whether it belongs to a training is seen when a ``Trainer`` is to go on with it.
    public init(contentsOf path: String, maximumBytes: Int = 4 << 30) throws(DeMLError) {
        let file = try Safetensors(contentsOf: path, maximumBytes: maximumBytes)
        do throws(DeMLError) {
            try self.init(file)
        } catch {
            throw error.within(path)
        }
    }

    /// The state in a file.
    public init(_ file: Safetensors) throws(DeMLError) {
        guard let json = file.metadata[Self.key], let digest = file.metadata[Self.digestKey] else {
            throw DeMLError(
                .missing, "the file has no \(Self.key) in its metadata", hint: "is it a state of a training?")
        }
        var content = file
        content.metadata[Self.digestKey] = nil
        guard Self.digest(of: content) == digest else {
            throw DeMLError(
                .mismatch, "the digest of the state is not the one that was written",
                hint: "the file is damaged: remove it, and training begins anew")
        }
        let record: Record
        do {
            record = try JSONDecoder().decode(Record.self, from: Data(json.utf8))
        } catch {
            throw DeMLError(decoding: error, of: "the state")
        }
        position = record.position
        optionsSHA256 = record.options
        inputs = record.inputs

        let ofOptimizer = file.tensors.filter { $0.name.hasPrefix(Self.prefix) }
        content.tensors.removeAll { $0.name.hasPrefix(Self.prefix) }
        weights = try Weights(content)
        var arrays: [String: [Float]] = [:]
        // What is behind the last dot is the array's name.
        for name in Set(ofOptimizer.compactMap { $0.name.split(separator: ".").last.map(String.init) }) {
            let suffix = "." + name
            let tensors = ofOptimizer.filter { $0.name.hasSuffix(suffix) }
                .map { (name: String($0.name.dropFirst(Self.prefix.count).dropLast(suffix.count)), tensor: $0.tensor) }
            arrays[name] = try Weights.collect(Safetensors(tensors: tensors), weights.model)
        }
        self.arrays = arrays
    }

    private static let prefix = "state."

    private static func name(_ parameter: String, _ array: String) -> String {
        "\(prefix)\(parameter).\(array)"
    }

    /// SHA-256 of everything in a file, whatever the order: of a JSON text of metadata and shapes, then of the bytes.
    private static func digest(of file: Safetensors) -> String {
        let tensors = file.tensors.sorted { $0.name < $1.name }
        var digest = SHA256Digest()
        let header = [
            canonicalJSON(file.metadata),
            canonicalJSON(tensors.map { "\($0.name) \($0.tensor.dtype.rawValue) \($0.tensor.shape)" }),
        ]
        digest.update(Array(header.joined(separator: "\n").utf8))
        for (_, tensor) in tensors {
            tensor.withUnsafeBytes { digest.update($0) }
        }
        return digest.hex()
    }
}

extension TrainerState {
    /// Refuses to go on with a state of another training, and one that no training can be in.
    /// Throws `mismatch`.
    func check(_ model: ModelDescription, _ options: TrainingOptions) throws(DeMLError) {
        func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(DeMLError) {
            guard condition else {
                throw DeMLError(.mismatch, "the state \(message())", place: "state")
            }
        }
        try require(weights.model == model, "is of another model")
        try require(optionsSHA256 == Self.digest(of: options), "is of a training with other options")
        try require(
            Set(arrays.keys) == Set(options.optimizer.stateNames),
            "has not the arrays of the optimizer \(options.optimizer.type)")
        try require(position.isPossible(options), "is none that a training can be in")
    }
}
