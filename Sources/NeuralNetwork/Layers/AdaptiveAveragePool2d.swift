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
        // y[b][oh][ow][c] = the mean of its window. Backward: the gradient is spread evenly over the window.
        network.append(
            ImageOperation(
                input, y,
                deml_resize2d(
                    batch: 0, height: input.height, width: input.width, channels: input.channels, out_height: y.height,
                    out_width: y.width, bilinear: false, scale_height: 0, scale_width: 0),
                batch: \.batch, forward: deml_adaptive_avg_pool2d_forward,
                backward: deml_adaptive_avg_pool2d_backward))
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
