import CKernels
import Tensors

/// The means of as many windows as the output has numbers: [c, h, w] → [c, h', w']. Window i of h' reaches from
/// ⌊i·h/h'⌋ to ⌈(i + 1)·h/h'⌉, as torch's `AdaptiveAvgPool2d` has it.
struct AdaptiveAveragePool2d: LayerDefinition {
    static let type = "adaptive_avg_pool2d"
    static let options = ["output_size"]

    var outputSize: Size2D

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.image()
        try place.positive("output_size", outputSize.height)
        try place.positive("output_size", outputSize.width)
        return LayerShapes(output: [place.input[0], outputSize.height, outputSize.width])
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.input.reduce(1, *)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let y = try network.output(layer.output, .channelsLast, of: input)
        network.append(AdaptiveAveragePool2dOperation(input, y))
        return y
    }
}

extension AdaptiveAveragePool2d {
    init(_ options: StrictContainer) throws {
        outputSize = try options.required("output_size", Size2D.self)
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("output_size", outputSize)
    }
}

extension Layer {
    /// The means of as many windows as the output has numbers: [c, h, w] → [c, h', w'].
    public static func adaptiveAveragePool2d(outputSize: Size2D) -> Layer {
        Layer(AdaptiveAveragePool2d(outputSize: outputSize))
    }
}

/// y[b][oh][ow][c] = the mean of its window. Backward: the gradient is spread evenly over the window.
private final class AdaptiveAveragePool2dOperation: Operation {
    private let x: Activations
    private let y: Activations
    private var shape: deml_resize2d

    init(_ x: Activations, _ y: Activations) {
        self.x = x
        self.y = y
        shape = deml_resize2d(
            batch: 0, height: x.height, width: x.width, channels: x.channels, out_height: y.height,
            out_width: y.width, bilinear: false, scale_height: 0, scale_width: 0)
    }

    func forward(_ pass: Pass) {
        shape.batch = pass.batch
        deml_adaptive_avg_pool2d_forward(pass.pool, &shape, x.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        shape.batch = pass.batch
        deml_adaptive_avg_pool2d_backward(pass.pool, &shape, dy, dx)
    }
}
