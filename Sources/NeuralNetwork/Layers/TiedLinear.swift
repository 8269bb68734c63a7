import CKernels
import Tensors

/// y = x·Wᵀ + b, W being the weight of the model's embedding: [..., c] → [..., num_embeddings]. Press and Wolf, "Using the
/// output embedding to improve language models", 2016 (arXiv 1608.05859). It has no weight of its own, in a file neither;
/// the bias, which there is only where `bias` says so, begins as zeros.
struct TiedLinear: LayerDefinition {
    static let type = "tied_linear"
    static let options = ["bias"]

    var bias = false

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard place.isLast else {
            throw DeMLError(.mismatch, "tied_linear may only be the last layer", hint: "linear may be anywhere")
        }
        guard let embedding = place.embedding else {
            throw DeMLError(.missing, "tied_linear has the weight of an embedding, but the model has none before it")
        }
        let features = place.input[place.input.count - 1]
        guard features == embedding.width else {
            throw DeMLError(
                .shape,
                "tied_linear has the embedding's weight [\(embedding.count), \(embedding.width)], which does not fit the input \(place.input)"
            )
        }
        return LayerShapes(
            output: place.input.dropLast() + [embedding.count],
            parameters: bias
                ? [
                    ParameterDescription(
                        name: "\(place.name).bias", shape: [embedding.count], initialization: .constant(0))
                ] : [])
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *) * layer.input[layer.input.count - 1]
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        guard let shared = network.embedding else { preconditionFailure("the description has an embedding before") }
        let input = try network.converted(x, to: .torch)
        let bias = try layer.ownParameters.first.map { (description) throws(DeMLError) in
            try network.parameter(description)
        }
        let y = try network.output(layer.output, .torch, of: input, hasParameters: true)
        let size = shared.weight.count
        let blocks = try network.array(count: size, for: .parameters)
        let isTraining = !network.purpose.isInference
        let gradient = try isTraining ? network.array(count: size, for: .gradients) : nil
        shared.headGradient = try isTraining ? network.array(count: size, for: .gradients) : nil
        network.append(
            TiedLinearOperation(
                input, y, shared, bias: bias, blocks: blocks, gradient: gradient,
                sink: network.gradientSink(gradient)))
        return y
    }
}

extension TiedLinear {
    init(_ options: StrictContainer) throws {
        bias = try options.optional("bias", Bool.self) ?? false
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("bias", bias, unless: false)
    }
}

extension Layer {
    /// y = x·Wᵀ + b, W being the weight of the model's embedding: [..., c] → [..., num_embeddings].
    public static func tiedLinear(bias: Bool = false) -> Layer { Layer(TiedLinear(bias: bias)) }
}

/// As a linear layer, with the embedding's weight brought into the kernels' order at each step, and its gradient back: the
/// embedding, whose turn in the backward pass comes last, adds its own and changes the weight.
private final class TiedLinearOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let shared: SharedEmbedding
    private let bias: Parameter?
    /// The weight, and its gradient, in the kernels' order.
    private let blocks: UnsafeMutablePointer<Float>
    private let gradient: UnsafeMutablePointer<Float>?
    private let sink: UnsafeMutablePointer<deml_sink>
    private let rowsPerExample: Int

    init(
        _ x: Activations, _ y: Activations, _ shared: SharedEmbedding, bias: Parameter?,
        blocks: UnsafeMutablePointer<Float>, gradient: UnsafeMutablePointer<Float>?,
        sink: UnsafeMutablePointer<deml_sink>
    ) {
        self.x = x
        self.y = y
        self.shared = shared
        self.bias = bias
        self.blocks = blocks
        self.gradient = gradient
        self.sink = sink
        rowsPerExample = x.size / shared.width
    }

    func forward(_ pass: Pass) {
        deml_linear_weights_import(pass.pool, shared.width, shared.count, shared.weight.values, blocks)
        deml_linear_forward(
            pass.pool, pass.batch * rowsPerExample, shared.width, shared.count, x.values, blocks, bias?.values,
            DEML_IDENTITY, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let gradient, let total = shared.headGradient else { return }
        let rows = pass.batch * rowsPerExample
        if let dx = x.gradient {
            deml_linear_input_gradient(pass.pool, rows, shared.width, shared.count, dy, blocks, dx)
        }
        deml_linear_weight_gradient(pass.pool, rows, shared.width, shared.count, x.values, dy, sink, bias?.sink)
        deml_linear_weights_export(pass.pool, shared.width, shared.count, gradient, total)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        deml_linear_scratch(
            conditions.threads, conditions.isa, conditions.batch.multipliedSaturated(by: rowsPerExample), shared.width,
            shared.count, conditions.isTraining)
    }
}
