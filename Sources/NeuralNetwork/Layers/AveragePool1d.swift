import Tensors

/// The mean of each window of a sequence, padding counting as zeros: [c, l] → [c, l']. The stride's default is the kernel's
/// size.
struct AveragePool1d: PoolingLayer {
    static let type = "avg_pool1d"
    static let options = AveragePool2d.options

    /// Of an image with the height 1.
    var window: Window2D

    /// The pool of an image with one row.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try AveragePool2d(window: window).build(layer, x, &network)
    }
}

extension AveragePool1d {
    init(_ options: StrictContainer) throws {
        try options.demand("ceil_mode", false)
        try options.demand("count_include_pad", true)
        window = try Window2D(sequence: options, of: Self.type)
    }
}

extension Layer {
    /// The mean of each window of a sequence, padding counting as zeros. The stride's default is the kernel's size.
    public static func averagePool1d(kernelSize: Int, stride: Int? = nil, padding: Int = 0) -> Layer {
        Layer(AveragePool1d(window: Window2D(length: kernelSize, stride: stride, padding: padding)))
    }
}
