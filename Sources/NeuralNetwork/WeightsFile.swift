import Tensors

/// Numbers for all parameters of a model, wherever they are.
public protocol ModelWeights: Sendable {
    var model: ModelDescription { get }
    /// One for each of `model.parameters`, in its shape and a floating-point type.
    var parameterTensors: [Tensor] { get }
}

extension Weights: ModelWeights {
    /// Views of ``parameters``.
    public var parameterTensors: [Tensor] { Self.tensors(parameters, model).map(\.tensor) }
}

/// A weights file whose numbers are still in the file: a network takes them from there piece by piece. With a mapped file
/// (`Safetensors(contentsOf:mapping:)`) a model is in memory once, where ``Weights`` and a network hold it twice.
public struct WeightsFile: ModelWeights {
    public let model: ModelDescription
    /// As ``Weights/round``.
    public let round: Int
    /// As ``Weights/schema``.
    public let schema: String?
    public let parameterTensors: [Tensor]

    /// Checks the file, its numbers too. Throws as `Weights(_:)` does.
    public init(_ file: Safetensors) throws(DeMLError) {
        model = try Weights.model(of: file)
        round = try Weights.round(of: file)
        schema = file.metadata[Weights.schemaKey]
        parameterTensors = try Weights.tensors(of: file, model)
        for (parameter, tensor) in zip(model.parameters, parameterTensors) {
            do throws(DeMLError) {
                try tensor.eachPiece(unit: 1) { (_, _) in }
            } catch {
                throw error.at("tensor '\(parameter.name)'")
            }
        }
    }
}

extension Tensor {
    /// Numbers of a piece: 16 MiB of them.
    private static let pieceCount = 4 << 20

    /// Walks through the numbers in pieces that are multiples of `unit`, the last at least one, so that of a mapped file
    /// little is in memory at a time. `body` gets the index of a piece's first number. Throws `notFinite`.
    fileprivate func eachPiece(
        unit: Int, _ body: (Int, UnsafeBufferPointer<Float>) -> Void
    ) throws(DeMLError) {
        let step = max(1, unit >= Self.pieceCount ? unit : Self.pieceCount / unit * unit)
        var first = 0
        while first < count {
            let last = count - first - step < unit ? count : first + step
            let (start, size) = (bytes.startIndex, dtype.byteCount)
            let piece = try Tensor(
                dtype: dtype, shape: [last - first], bytes: bytes[start + first * size..<start + last * size])
            try piece.withFiniteFloats(first: first) { body(first, $0) }
            piece.relinquish()
            first = last
        }
    }
}

extension Network {
    /// Takes the parameters piece by piece. Throws `notFinite`, with the tensor as place.
    func load(_ weights: some ModelWeights) throws(DeMLError) {
        precondition(weights.model == model, "the weights of another model")
        for (parameter, tensor) in zip(parameters, weights.parameterTensors) {
            do throws(DeMLError) {
                try parameter.load(tensor, pass.pool)
            } catch {
                throw error.at("tensor '\(parameter.description.name)'")
            }
        }
    }
}

extension Parameter {
    /// Takes the numbers of a tensor: one in an order of its own in pieces that this order allows, or whole.
    fileprivate func load(_ tensor: Tensor, _ pool: OpaquePointer) throws(DeMLError) {
        let unit = order.map { $0.unit ?? count } ?? 1
        try tensor.eachPiece(unit: unit) { (first, piece) in
            guard let source = piece.baseAddress else { return }
            if let order, piece.count < count {
                order.loadPiece?(pool, source, values + first, piece.count)
            } else if let order {
                order.load(pool, source, values)
            } else {
                (values + first).update(from: source, count: piece.count)
            }
        }
    }
}
