import Tensors

/// The mean of each channel: [c, h, w] → [c, 1, 1] (torch's `AdaptiveAvgPool2d(1)`).
struct GlobalAveragePool2d: PlainLayer {
    static let type = "global_avg_pool2d"

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.image()
        return LayerShapes(output: [place.input[0], 1, 1])
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.input.reduce(1, *)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    /// A pool with one window.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let window = Window2D(kernelSize: Size2D(layer.input[1], layer.input[2]))
        return try AveragePool2d(window: window).build(layer, x, &network)
    }
}

extension Layer {
    /// The mean of each channel: [c, h, w] → [c, 1, 1] (torch's `AdaptiveAvgPool2d(1)`).
    public static var globalAveragePool2d: Layer { Layer(GlobalAveragePool2d()) }
}
