import CKernels
import Tensors

/// What lstm and gru share: options, shapes, and how layers and directions stand behind and beside each other.
struct Recurrence: Sendable, Equatable {
    static let options = [
        "hidden_size", "input_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "output",
        "proj_size",
    ]

    var hidden: Int
    var inputSize: Int?
    var layers = 1
    var bias = true
    /// Between the layers.
    var dropout = 0.0
    var isBidirectional = false
    /// Only the output of the last step; of the second direction that is the one at the sequence's beginning.
    var isLast = false

    private var directions: Int { isBidirectional ? 2 : 1 }

    func shapes(_ place: LayerPlace, gates: Int) throws(DeMLError) -> LayerShapes {
        let (length, features) = try place.sequence()
        try place.match("input_size", inputSize, features)
        try place.positive("hidden_size", hidden)
        guard (1...100).contains(layers) else {
            throw DeMLError(.outOfRange, "num_layers \(layers) is not between 1 and 100")
        }
        try place.check(dropout: dropout, "dropout")
        var parameters: [ParameterDescription] = []
        for layer in 0..<layers {
            let inputs = layer == 0 ? features : directions * hidden
            guard let size = elementCount(of: [gates, hidden, max(inputs, hidden)]),
                size <= ModelSize.maximumParameters
            else {
                throw DeMLError(
                    .tooLarge, "a weight of shape [\(gates) x \(hidden), \(max(inputs, hidden))] is too large")
            }
            for direction in 0..<directions {
                let suffix = "_l\(layer)" + (direction == 1 ? "_reverse" : "")
                let shapes =
                    [("weight_ih", [gates * hidden, inputs]), ("weight_hh", [gates * hidden, hidden])]
                    + (bias ? [("bias_ih", [gates * hidden]), ("bias_hh", [gates * hidden])] : [])
                parameters += shapes.map {
                    ParameterDescription(
                        name: "\(place.name).\($0.0)\(suffix)", shape: $0.1, initialization: .uniform(fanIn: hidden))
                }
            }
        }
        let width = directions * hidden
        return LayerShapes(output: isLast ? [width] : [length, width], parameters: parameters)
    }

    func multiplyAdds(_ layer: ResolvedLayer, gates: Int) -> Int {
        let weights = layer.ownParameters.filter { $0.shape.count == 2 }.reduce(0) { $0.addingSaturated($1.count) }
        return weights.multipliedSaturated(by: layer.input[0])
    }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ kind: RecurrentOperation.Kind, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        var input = try network.converted(x, to: .torch)
        let length = layer.input[0]
        var own = layer.ownParameters[...]
        for number in 0..<layers {
            let features = input.shape[1]
            let y = try network.output([length, directions * hidden], .torch, of: input, hasParameters: true)
            for direction in 0..<directions {
                guard let (ih, hh) = own.popPair() else { preconditionFailure("shapes gave every weight") }
                let weights = RecurrentOperation.Parameters(
                    ih: try network.parameter(ih, .linear(in: features, out: kind.gates * hidden)),
                    hh: try network.parameter(hh, .linear(in: hidden, out: kind.gates * hidden)),
                    biases: try bias
                        ? own.popPair().map { (pair) throws(DeMLError) in
                            (ih: try network.parameter(pair.0), hh: try network.parameter(pair.1))
                        } : nil)
                network.append(
                    try RecurrentOperation(
                        input, y, kind, hidden: hidden, direction: direction, of: directions, weights, network))
            }
            input = y
            guard number + 1 < layers else { break }
            // Counted even where nothing is dropped, so that another layer's numbers do not depend on it.
            let random = network.takeRandomNumber()
            guard dropout > 0, !network.purpose.isInference else { continue }
            let kept = try network.elementwiseOutput(of: y)
            network.append(DropoutOperation(y, kept, probability: Float(dropout), number: random))
            input = kept
        }
        guard isLast else { return input }
        let last = try network.output(layer.output, .torch, of: input)
        network.append(LastStepOperation(input, last, hidden: hidden))
        return last
    }
}

extension Recurrence {
    init(_ options: StrictContainer) throws {
        try options.demand("batch_first", true)
        hidden = try options.required("hidden_size", Int.self)
        inputSize = try options.optional("input_size", Int.self)
        layers = try options.optional("num_layers", Int.self) ?? 1
        bias = try options.optional("bias", Bool.self) ?? true
        dropout = try options.optional("dropout", Double.self) ?? 0
        isBidirectional = try options.optional("bidirectional", Bool.self) ?? false
        if let output = try options.optional("output", String.self) {
            guard ["all", "last"].contains(output) else {
                throw options.error(
                    .outOfRange, "output \(output.quotedForMessage) is unknown", hint: "known: all, last")
            }
            isLast = output == "last"
        }
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("hidden_size", hidden)
        try options.put("input_size", inputSize)
        try options.put("num_layers", layers, unless: 1)
        try options.put("bias", bias, unless: true)
        try options.put("dropout", dropout, unless: 0)
        try options.put("bidirectional", isBidirectional, unless: false)
        try options.put("output", isLast ? "last" : "all", unless: "all")
    }
}

extension ArraySlice<ParameterDescription> {
    fileprivate mutating func popPair() -> (ParameterDescription, ParameterDescription)? {
        guard let first = popFirst(), let second = popFirst() else { return nil }
        return (first, second)
    }
}

/// y[d·h] = x[last][0 ..< h] and, of the second direction, x[0][h ..< 2h].
private final class LastStepOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let hidden: Int

    init(_ x: Activations, _ y: Activations, hidden: Int) {
        self.x = x
        self.y = y
        self.hidden = hidden
    }

    /// Where each direction ends: the first of its numbers in an example of x, and in y.
    private func eachEnd(_ body: (_ inX: Int, _ inY: Int) -> Void) {
        body((x.shape[0] - 1) * y.size, 0)
        if y.size > hidden { body(hidden, hidden) }
    }

    func forward(_ pass: Pass) {
        eachEnd { inX, inY in
            deml_copy_columns(pass.pool, pass.batch, hidden, x.values + inX, x.size, y.values + inY, y.size)
        }
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        dx.update(repeating: 0, count: pass.batch * x.size)
        eachEnd { inX, inY in
            deml_copy_columns(pass.pool, pass.batch, hidden, dy + inY, y.size, dx + inX, x.size)
        }
    }
}
