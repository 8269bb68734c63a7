import Tensors

/// A model and the numbers in all its parameters: what a weights file holds.
public struct Weights: Sendable, Equatable {
    public let model: ModelDescription
    /// The round of federated training these weights come from; 0 before any.
    public var round: Int
    /// What the numbers that go in and out stand for, as the text that a weights file carries and nothing here reads.
    public var schema: String?
    /// Every parameter, one after the other in the order of `model.parameters`, each in torch's layout. Assigning
    /// another number of them is a programmer's mistake.
    public var parameters: [Float] {
        didSet { precondition(parameters.count == model.parameterCount, "the number of parameters must not change") }
    }

    /// The key of the model description in a weights file's metadata.
    public static let modelKey = "deml.model"
    /// The key of the round.
    public static let roundKey = "deml.round"
    /// The key of the schema.
    public static let schemaKey = "deml.schema"

    init(unchecked model: ModelDescription, round: Int, _ parameters: [Float], schema: String? = nil) {
        self.model = model
        self.round = round
        self.schema = schema
        self.parameters = parameters
    }

    /// Throws `shape` where the numbers are not those of the model.
    public init(model: ModelDescription, parameters: [Float], round: Int = 0) throws(DeMLError) {
        guard parameters.count == model.parameterCount else {
            throw DeMLError(
                .shape, "the model has \(model.parameterCount) parameters, but there are \(parameters.count)")
        }
        self.init(unchecked: model, round: round, parameters)
    }

    /// Reads a weights file, which says itself what model it is of.
    ///
    /// Throws `missing` without a description or a tensor; `shape` and `dtype` where a tensor does not fit, `notFinite`
    /// for a NaN or an infinity, with the tensor as place; `mismatch` for a tensor that the model does not have.
    public init(_ file: Safetensors) throws(DeMLError) {
        try self.init(file, model: try Self.model(of: file))
    }

    static func model(of file: Safetensors) throws(DeMLError) -> ModelDescription {
        guard let json = file.metadata[Self.modelKey] else {
            throw DeMLError(
                .missing, "the file has no \(Self.modelKey) in its metadata", hint: "is it a weights file of DeML?")
        }
        return try ModelDescription(json: json)
    }

    /// Reads the tensors of `model` from a file without a description, such as a `state_dict()` that torch saved.
    public init(_ file: Safetensors, model: ModelDescription) throws(DeMLError) {
        self.init(
            unchecked: model, round: try Self.round(of: file), try Self.collect(file, model),
            schema: file.metadata[Self.schemaKey])
    }

    static func round(of file: Safetensors) throws(DeMLError) -> Int {
        guard let text = file.metadata[Self.roundKey] else { return 0 }
        guard let number = Int(text), number >= 0 else {
            throw DeMLError(.malformed, "\(Self.roundKey) is \(text.quotedForMessage), not a number of rounds")
        }
        return number
    }

    /// The parameters of `model` out of any file with its tensors (weights or delta), checked, in one array.
    public static func collect(_ file: Safetensors, _ model: ModelDescription) throws(DeMLError) -> [Float] {
        let tensors = try tensors(of: file, model)
        var parameters: [Float] = []
        parameters.reserveCapacity(model.parameterCount)
        for (parameter, tensor) in zip(model.parameters, tensors) {
            do throws(DeMLError) {
                try tensor.withFiniteFloats(first: 0) { parameters.append(contentsOf: $0) }
                // Of a mapped file, nothing stays in memory beside what was copied.
                tensor.relinquish()
            } catch {
                throw error.at("tensor '\(parameter.name)'")
            }
        }
        return parameters
    }

    private static let runningMean = "running_mean"

    /// The tensors of a file in the order of `model.parameters`: all are there, of the right shape and a type of weights,
    /// and no others but batch_norm's `num_batches_tracked`, which says nothing here. Their numbers are not looked at.
    static func tensors(of file: Safetensors, _ model: ModelDescription) throws(DeMLError) -> [Tensor] {
        var tensors = Dictionary(file.tensors.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first })
        for buffer in model.parameters where buffer.isBuffer && buffer.name.hasSuffix(Self.runningMean) {
            tensors[String(buffer.name.dropLast(Self.runningMean.count)) + "num_batches_tracked"] = nil
        }
        for parameter in model.parameters {
            guard let tensor = tensors[parameter.name] else {
                throw DeMLError(.missing, "the model needs the tensor '\(parameter.name)', which is not in the file")
            }
            let place = "tensor '\(parameter.name)'"
            guard tensor.shape == parameter.shape else {
                throw DeMLError(
                    .shape, "the model needs the shape \(parameter.shape), but it is \(tensor.shape)", place: place)
            }
            guard tensor.dtype.isFloatingPoint else {
                throw DeMLError(
                    .dtype, "weights are F32, F16, BF16 or F64, but it is \(tensor.dtype.rawValue)", place: place)
            }
        }
        if tensors.count > model.parameters.count {
            let known = Set(model.parameters.map(\.name))
            let unknown = tensors.keys.filter { !known.contains($0) }.min() ?? ""
            throw DeMLError(.mismatch, "the model has no tensor \(unknown.quotedForMessage)")
        }
        return model.parameters.compactMap { tensors[$0.name] }
    }

    /// The weights file: every parameter as F32, with the model's description, the round and the schema in the metadata.
    public func safetensors(round: Int? = nil) -> Safetensors {
        var metadata = [Self.modelKey: model.canonicalJSON, Self.roundKey: String(round ?? self.round)]
        metadata[Self.schemaKey] = schema
        return Safetensors(tensors: Self.tensors(parameters, model), metadata: metadata)
    }

    /// Numbers of all parameters (weights, or a delta) as named tensors, which share them.
    public static func tensors(_ parameters: [Float], _ model: ModelDescription) -> [(name: String, tensor: Tensor)] {
        precondition(parameters.count == model.parameterCount, "not the parameters of this model")
        var start = 0
        return model.parameters.map { parameter in
            defer { start += parameter.count }
            return (
                parameter.name, Tensor(shape: parameter.shape, floats: parameters[start..<start + parameter.count])
            )
        }
    }

    /// `self - base`, number by number: what training changed. The models must be the same.
    public func difference(from base: Weights) -> [Float] {
        precondition(parameters.count == base.parameters.count, "weights of different models")
        return parameters.withUnsafeBufferPointer { ours in
            base.parameters.withUnsafeBufferPointer { theirs in
                makeArray(count: ours.count) { (target: UnsafeMutableBufferPointer<Float>) in
                    for index in target.indices { target[index] = ours[index] - theirs[index] }
                }
            }
        }
    }
}

extension Tensor {
    /// The elements as single precision, in place where they are. Throws `notFinite` for a NaN or an infinity (also of a
    /// double that single precision cannot hold), with its index counted from `first`.
    func withFiniteFloats(first: Int, _ body: (UnsafeBufferPointer<Float>) -> Void) throws(DeMLError) {
        let values = dtype == .f32 ? self : Tensor(shape: shape, floats: try floats())
        if let index = values.firstNonFinite() {
            throw DeMLError(.notFinite, "element \(first + index) is \(try values.floats()[index])")
        }
        try values.withUnsafeFloats { (values) throws(DeMLError) in body(values) }
    }
}
