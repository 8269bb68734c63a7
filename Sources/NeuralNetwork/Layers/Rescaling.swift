import Tensors

/// y = scale·x + offset, with numbers that are not learned: Keras's `Rescaling`. As the last layer of a regression with the
/// targets' deviation and mean it lets the layers before it learn numbers around 0 and 1, whatever the targets' unit.
/// `scale` and `offset` are one number each for all, or one for each feature or channel (the first dimension of an example).
struct Rescaling: LayerDefinition {
    static let type = "rescaling"
    static let options = ["scale", "offset"]

    var scale: [Double]
    var offset = [0.0]

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        for (key, values) in [("scale", scale), ("offset", offset)] {
            guard values.count == 1 || values.count == place.input[0] else {
                throw DeMLError(
                    .shape, "\(key) has \(values.count) numbers for the input shape \(place.input)",
                    hint: "one number for all, or \(place.input[0])")
            }
            guard values.allSatisfy({ Float($0).isFinite }) else {
                throw DeMLError(.outOfRange, "\(key) \(values) is not finite in single precision")
            }
        }
        return LayerShapes(output: place.input)
    }

    private var isUniform: Bool { scale.count == 1 && offset.count == 1 }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { isUniform ? nil : .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let x = isUniform ? x : try network.converted(x, to: .torch)
        let y = try network.elementwiseOutput(of: x)
        network.append(RescalingOperation(x, y, scale: scale.map(Float.init), offset: offset.map(Float.init)))
        return y
    }
}

extension Rescaling {
    init(_ options: StrictContainer) throws {
        scale = try options.required("scale", NumberList<Double>.self).values
        offset = try options.optional("offset", NumberList<Double>.self)?.values ?? [0]
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("scale", scale)
        try options.put("offset", offset, unless: [0])
    }
}

extension Layer {
    /// y = scale·x + offset: one number each for all, or one for each feature or channel.
    public static func rescaling(scale: [Double], offset: [Double] = [0]) -> Layer {
        Layer(Rescaling(scale: scale, offset: offset))
    }
}

/// y[b][c][i] = scale[c]·x[b][c][i] + offset[c], product and sum rounded each. Backward: dx = scale[c]·dy, in place.
private final class RescalingOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let scale: [Float]
    private let offset: [Float]
    /// Numbers of one example that have one scale and one offset.
    private let run: Int

    init(_ x: Activations, _ y: Activations, scale: [Float], offset: [Float]) {
        let channels = max(scale.count, offset.count)
        func all(_ values: [Float]) -> [Float] {
            values.count == channels ? values : [Float](repeating: values[0], count: channels)
        }
        self.x = x
        self.y = y
        self.scale = all(scale)
        self.offset = all(offset)
        run = x.size / channels
    }

    func forward(_ pass: Pass) {
        eachRun(pass) { start, scale, offset in
            for index in start..<start + run { y.values[index] = scale * x.values[index] + offset }
        }
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        eachRun(pass) { start, scale, _ in
            for index in start..<start + run { dx[index] = scale * dy[index] }
        }
    }

    private func eachRun(_ pass: Pass, _ body: (Int, Float, Float) -> Void) {
        for example in 0..<pass.batch {
            for channel in scale.indices {
                body(example * x.size + channel * run, scale[channel], offset[channel])
            }
        }
    }
}
