import CKernels
import Tensors

/// layers(x) + x, or layers(x) + projection(x). He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015.
/// Parameters are named as those of a module with `self.layers` and `self.projection`, each an `nn.Sequential`.
struct Residual: LayerDefinition {
    static let type = "residual"
    static let options = ["layers", "projection"]

    var layers: [Layer]
    var projection: [Layer] = []

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard !layers.isEmpty else { throw DeMLError(.missing, "the residual block has no layers") }
        let body = try place.branch("layers", layers)
        let shortcut = try place.branch("projection", projection)
        let output = body[body.count - 1].output
        let added = shortcut.last?.output ?? place.input
        guard output == added else {
            throw DeMLError(
                .shape,
                "the layers give \(output), which cannot be added to the \(shortcut.isEmpty ? "input's" : "projection's") \(added)",
                hint: shortcut.isEmpty ? "add a projection, such as conv2d with kernel_size 1" : nil)
        }
        return LayerShapes(output: output, branches: [body, shortcut])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? {
        layer.branches[0].preferredLayout ?? .torch
    }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        var body = try network.branch(layer.branches[0], from: x)
        var shortcut: NetworkBuilder.Branch?
        if projection.isEmpty {
            body = try network.converted(body, to: x.layout)
        } else {
            let made = try network.branch(layer.branches[1], from: try network.sharedValues(of: x))
            shortcut = try network.converted(made, to: body.output.layout)
        }
        let y = try network.output(
            layer.output, body.output.layout, of: x, hasParameters: !layer.parameters.isEmpty)
        network.append(
            ResidualOperation(x, y, layers: body, projection: shortcut, activation: network.takeActivation()))
        return y
    }
}

extension Residual {
    init(_ options: StrictContainer) throws {
        layers = try options.required("layers", LayerList.self).layers
        projection = try options.optional("projection", LayerList.self)?.layers ?? []
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("layers", layers)
        try options.put("projection", projection, unless: [])
    }
}

extension Layer {
    /// layers(x) + x, or layers(x) + projection(x). Parameters are named as those of a module with `self.layers` and
    /// `self.projection`, each an `nn.Sequential`.
    public static func residual(layers: [Layer], projection: [Layer] = []) -> Layer {
        Layer(Residual(layers: layers, projection: projection))
    }
}

/// y = f(layers(x) + projection(x)), or f(layers(x) + x); f: identity or relu.
///
/// Both branches read x's values. The layers write x's gradient first, then the projection's (in an array of its own) or
/// y's gradient is added to it.
private final class ResidualOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let layers: NetworkBuilder.Branch
    private let projection: NetworkBuilder.Branch?
    private let activation: deml_activation

    init(
        _ x: Activations, _ y: Activations, layers: NetworkBuilder.Branch, projection: NetworkBuilder.Branch?,
        activation: deml_activation
    ) {
        self.x = x
        self.y = y
        self.layers = layers
        self.projection = projection
        self.activation = activation
    }

    func forward(_ pass: Pass) {
        for operation in layers.operations { operation.forward(pass) }
        for operation in projection?.operations ?? [] { operation.forward(pass) }
        deml_sum(
            pass.pool, pass.batch * y.size, layers.output.values, projection?.output.values ?? x.values, activation,
            y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        let count = pass.batch * y.size
        if activation != DEML_IDENTITY {
            deml_activation_backward(pass.pool, activation, deml_activation_options(), count, nil, y.values, dy, dy)
        }
        if let gradient = layers.output.gradient {
            gradient.update(from: dy, count: count)
            for operation in layers.operations.reversed() { operation.backward(pass) }
        }
        if let projection {
            if let gradient = projection.output.gradient {
                gradient.update(from: dy, count: count)
                for operation in projection.operations.reversed() { operation.backward(pass) }
            }
            if let dx = x.gradient, let added = projection.input.gradient {
                deml_add(pass.pool, pass.batch * x.size, added, dx)
            }
        } else if let dx = x.gradient {
            deml_add(pass.pool, count, dy, dx)
        }
    }
}
