import CKernels
import Tensors

/// y = x·Wᵀ + b over the last dimension: [..., in] → [..., out]. W `[out, in]`, b `[out]`, both drawn from
/// U(-1/√in, 1/√in).
struct Linear: LayerDefinition {
    static let type = "linear"
    static let options = ["out_features", "in_features", "bias"]

    var outFeatures: Int
    var inFeatures: Int?
    var bias = true

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        let features = place.input[place.input.count - 1]
        try place.positive("out_features", outFeatures)
        try place.match("in_features", inFeatures, features)
        return LayerShapes(
            output: place.input.dropLast() + [outFeatures],
            parameters: try place.weightAndBias([outFeatures, features], fanIn: features, bias: bias))
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *) * layer.input[layer.input.count - 1]
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        // Only the last dimension matters: a vector has the same layout either way.
        let input = try network.converted(x, to: .torch)
        let weight = try network.parameter(
            layer.ownParameters[0], .linear(in: input.shape[input.shape.count - 1], out: outFeatures))
        let bias = try bias ? network.parameter(layer.ownParameters[1]) : nil
        let y = try network.output(layer.output, .torch, of: input, hasParameters: true)
        network.append(LinearOperation(input, y, weight: weight, bias: bias, activation: network.takeActivation()))
        return y
    }
}

extension Linear {
    init(_ options: StrictContainer) throws {
        outFeatures = try options.required("out_features", Int.self)
        inFeatures = try options.optional("in_features", Int.self)
        bias = try options.optional("bias", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("out_features", outFeatures)
        try options.put("in_features", inFeatures)
        try options.put("bias", bias, unless: true)
    }
}

extension Layer {
    /// y = x·Wᵀ + b over the last dimension: [..., in] → [..., out]. W `[out, in]`, b `[out]`, both drawn from
    /// U(-1/√in, 1/√in).
    public static func linear(outFeatures: Int, inFeatures: Int? = nil, bias: Bool = true) -> Layer {
        Layer(Linear(outFeatures: outFeatures, inFeatures: inFeatures, bias: bias))
    }
}

extension ParameterOrder {
    /// torch [out][in], here blocks of [in][64 outputs].
    static func linear(in input: Int, out: Int) -> ParameterOrder {
        ParameterOrder(
            load: { deml_linear_weights_import($0, input, out, $1, $2) },
            store: { deml_linear_weights_export($0, input, out, $1, $2) },
            unit: input * Int(DEML_LINEAR_BLOCK),
            loadPiece: { deml_linear_weights_import($0, input, $3 / input, $1, $2) })
    }
}

/// y[rows][out] = f(x[rows][in]·W[in][out] + b[out]), rows being batch × all dimensions but the last; f: identity or relu.
/// Backward: dx = dy·Wᵀ, dW = xᵀ·dy, db = Σ dy.
final class LinearOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let weight: Parameter
    private let bias: Parameter?
    private let activation: deml_activation
    private let rowsPerExample: Int
    private let inFeatures: Int
    private let outFeatures: Int

    init(_ x: Activations, _ y: Activations, weight: Parameter, bias: Parameter?, activation: deml_activation) {
        self.x = x
        self.y = y
        self.weight = weight
        self.bias = bias
        self.activation = activation
        inFeatures = x.shape[x.shape.count - 1]
        outFeatures = y.shape[y.shape.count - 1]
        rowsPerExample = x.size / inFeatures
    }

    func forward(_ pass: Pass) {
        deml_linear_forward(
            pass.pool, pass.batch * rowsPerExample, inFeatures, outFeatures, x.values, weight.values, bias?.values,
            activation, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        let rows = pass.batch * rowsPerExample
        if activation != DEML_IDENTITY {
            deml_activation_backward(
                pass.pool, activation, deml_activation_options(), rows * outFeatures, nil, y.values, dy, dy)
        }
        // Before the weights change.
        if let dx = x.gradient {
            deml_linear_input_gradient(pass.pool, rows, inFeatures, outFeatures, dy, weight.values, dx)
        }
        deml_linear_weight_gradient(pass.pool, rows, inFeatures, outFeatures, x.values, dy, weight.sink, bias?.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        deml_linear_scratch(
            conditions.threads, conditions.isa, conditions.batch.multipliedSaturated(by: rowsPerExample), inFeatures,
            outFeatures, conditions.isTraining)
    }
}
