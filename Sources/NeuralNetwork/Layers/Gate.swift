import CKernels
import Tensors

/// x·layers(x), number by number; of an image [c, h, w] the layers may give one number a channel, [c, 1, 1]. Hu, Shen, Sun,
/// "Squeeze-and-excitation networks", 2018 (arXiv 1709.01507) is a gate of global_avg_pool2d, conv2d, relu, conv2d and
/// sigmoid. Parameters are named as those of a module with `self.layers`, an `nn.Sequential`.
struct Gate: LayerDefinition {
    static let type = "gate"
    static let options = ["layers"]

    var layers: [Layer]

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard !layers.isEmpty else { throw DeMLError(.missing, "the gate has no layers") }
        let branch = try place.branch("layers", layers)
        let (input, gate) = (place.input, branch[branch.count - 1].output)
        guard gate == input || input.count == 3 && gate == [input[0], 1, 1] else {
            throw DeMLError(
                .shape, "the layers give \(gate), which cannot be multiplied with the input's \(input)",
                hint: input.count == 3 ? "the same shape, or [\(input[0]), 1, 1]" : nil)
        }
        return LayerShapes(output: input, branches: [branch])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? {
        layer.input.count == 3 ? .channelsLast : layer.branches[0].preferredLayout
    }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let isByChannel = layer.branches[0].last?.output != layer.input
        let input = isByChannel ? try network.converted(x, to: .channelsLast) : x
        let gate = try network.converted(try network.branch(layer.branches[0], from: input), to: input.layout)
        let y = try network.output(layer.output, input.layout, of: input, hasParameters: !layer.parameters.isEmpty)
        network.append(GateOperation(input, y, gate, pixels: isByChannel ? input.pixels : 1))
        return y
    }
}

extension Gate {
    init(_ options: StrictContainer) throws {
        layers = try options.required("layers", LayerList.self).layers
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("layers", layers)
    }
}

extension Layer {
    /// x·layers(x), number by number; of an image [c, h, w] the layers may give [c, 1, 1].
    public static func gate(layers: [Layer]) -> Layer { Layer(Gate(layers: layers)) }
}

/// y[b][p][c] = x[b][p][c]·g[b][c]. The layers write x's gradient first, then dy·g is added to it.
private final class GateOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let gate: NetworkBuilder.Branch
    /// That one number of the gate is for.
    private let pixels: Int

    init(_ x: Activations, _ y: Activations, _ gate: NetworkBuilder.Branch, pixels: Int) {
        self.x = x
        self.y = y
        self.gate = gate
        self.pixels = pixels
    }

    func forward(_ pass: Pass) {
        for operation in gate.operations { operation.forward(pass) }
        deml_gate_forward(
            pass.pool, pass.batch, pixels, gate.output.size, x.values, gate.output.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        if let gradient = gate.output.gradient {
            deml_gate_gradient(pass.pool, pass.batch, pixels, gate.output.size, x.values, dy, gradient)
            for operation in gate.operations.reversed() { operation.backward(pass) }
        }
        if let dx = x.gradient {
            deml_gate_input_gradient(
                pass.pool, pass.batch, pixels, gate.output.size, gate.output.values, dy, dx)
        }
    }
}
