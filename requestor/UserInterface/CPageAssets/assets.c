// The page's files, as they lie in ../Assets: put into the program by the C compiler, which reads a file as fast as it can;
// an array of numbers costs Swift's a fifth of a minute. A file more is three lines here and a line in the table.
#include "CPageAssets.h"

static const unsigned char index_html[] = {
#embed "../Assets/index.html"
};
static const unsigned char style_css[] = {
#embed "../Assets/style.css"
};
static const unsigned char icon_svg[] = {
#embed "../Assets/icon.svg"
};
static const unsigned char app_js[] = {
#embed "../Assets/app.js"
};
static const unsigned char tools_js[] = {
#embed "../Assets/tools.js"
};
static const unsigned char chart_js[] = {
#embed "../Assets/chart.js"
};
static const unsigned char home_js[] = {
#embed "../Assets/home.js"
};
static const unsigned char run_js[] = {
#embed "../Assets/run.js"
};
static const unsigned char live_js[] = {
#embed "../Assets/live.js"
};
static const unsigned char result_js[] = {
#embed "../Assets/result.js"
};
static const unsigned char compare_js[] = {
#embed "../Assets/compare.js"
};
static const unsigned char train_js[] = {
#embed "../Assets/train.js"
};
static const unsigned char layers_js[] = {
#embed "../Assets/layers.js"
};
static const unsigned char try_js[] = {
#embed "../Assets/try.js"
};
static const unsigned char golem_js[] = {
#embed "../Assets/golem.js"
};

static const PageAsset assets[] = {
    {"index.html", index_html, sizeof index_html},
    {"style.css", style_css, sizeof style_css},
    {"icon.svg", icon_svg, sizeof icon_svg},
    {"app.js", app_js, sizeof app_js},
    {"tools.js", tools_js, sizeof tools_js},
    {"chart.js", chart_js, sizeof chart_js},
    {"home.js", home_js, sizeof home_js},
    {"run.js", run_js, sizeof run_js},
    {"live.js", live_js, sizeof live_js},
    {"result.js", result_js, sizeof result_js},
    {"compare.js", compare_js, sizeof compare_js},
    {"train.js", train_js, sizeof train_js},
    {"layers.js", layers_js, sizeof layers_js},
    {"try.js", try_js, sizeof try_js},
    {"golem.js", golem_js, sizeof golem_js},
};

const PageAsset *page_assets(size_t *count) {
    *count = sizeof assets / sizeof assets[0];
    return assets;
}
