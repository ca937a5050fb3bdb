import type { EChartsCoreOption } from "echarts/core";

import type { QueryResult } from "../api/types";
import { number, type ChartKind, type ChartPlan } from "./chart";
import { exact } from "./format";

/** Colours of the theme, resolved to what a browser computes: ECharts does not know custom properties. */
export interface Palette {
  ink: string;
  quiet: string;
  line: string;
  ground: string;
  series: string[];
}

const LONG_LABEL = 10;
const MANY_ROWS = 7;
const FEW_ROWS = 12;

const valueOf = ({ value }: { value: unknown }) => (typeof value === "number" ? exact(value) : "");

/** Long or many labels lie on their side, where they can be read. */
export function lies(result: QueryResult, plan: ChartPlan, kind: ChartKind): boolean {
  const longest = Math.max(...labels(result, plan).map((label) => label.length));
  return kind === "bar" && (longest > LONG_LABEL || result.rows.length > MANY_ROWS);
}

/** A chart as ECharts takes it. The tooltip is drawn as text in the SVG: HTML of its own would need inline styles. */
export function chartOption(
  result: QueryResult,
  plan: ChartPlan,
  kind: ChartKind,
  palette: Palette,
  animate: boolean,
): EChartsCoreOption {
  const common = {
    animation: animate,
    animationDuration: 400,
    color: palette.series,
    textStyle: { fontFamily: "Geist Variable, system-ui, sans-serif", color: palette.ink },
    aria: { enabled: false },
    tooltip: tooltip(kind, palette),
  };
  return kind === "pie" ? { ...common, ...pie(result, plan, palette) } : { ...common, ...axes(result, plan, kind, palette) };
}

function tooltip(kind: ChartKind, palette: Palette) {
  return {
    trigger: kind === "pie" ? "item" : "axis",
    renderMode: "richText",
    confine: true,
    backgroundColor: palette.ground,
    borderColor: palette.line,
    textStyle: { color: palette.ink, fontSize: 12 },
    axisPointer: { type: kind === "bar" ? "shadow" : "line", shadowStyle: { color: palette.line, opacity: 0.35 } },
    valueFormatter: (value: unknown) => (typeof value === "number" ? exact(value) : ""),
  };
}

function axes(result: QueryResult, plan: ChartPlan, kind: ChartKind, palette: Palette) {
  const flat = lies(result, plan, kind);
  const category = {
    type: "category",
    data: labels(result, plan),
    inverse: flat,
    axisTick: { show: false },
    axisLine: { lineStyle: { color: palette.line } },
    axisLabel: { color: palette.quiet, hideOverlap: true, ...(flat ? { width: 150, overflow: "truncate" } : {}) },
  };
  const many = plan.values.length > 1;
  // Few bars carry their figures themselves, and need no scale beside them.
  const figures = kind === "bar" && !many && result.rows.length <= FEW_ROWS;
  const value = {
    type: "value",
    show: !figures,
    max: figures ? "dataMax" : undefined,
    splitNumber: 4,
    splitLine: { lineStyle: { color: palette.line } },
    axisLabel: { color: palette.quiet, hideOverlap: true },
  };
  return {
    grid: { left: 4, right: flat ? 56 : 20, top: many ? 34 : flat ? 0 : 20, bottom: flat && figures ? 0 : 2, containLabel: true },
    legend: many ? { top: 0, left: 0, icon: "roundRect", itemWidth: 10, itemHeight: 10, textStyle: { color: palette.quiet } } : undefined,
    xAxis: flat ? value : category,
    yAxis: flat ? category : value,
    series: plan.values.map((column) => ({
      name: result.columns[column],
      type: kind,
      data: result.rows.map((row) => number(row[column])),
      barMaxWidth: flat ? 18 : 40,
      label: { show: figures, position: flat ? "right" : "top", color: palette.quiet, formatter: valueOf },
      itemStyle: kind === "bar" ? { borderRadius: flat ? [0, 4, 4, 0] : [4, 4, 0, 0] } : {},
      lineStyle: { width: 2.5 },
      symbolSize: 7,
      showSymbol: result.rows.length < 40,
      smooth: 0.2,
    })),
  };
}

function pie(result: QueryResult, plan: ChartPlan, palette: Palette) {
  const names = labels(result, plan);
  return {
    series: [
      {
        type: "pie",
        radius: ["46%", "72%"],
        padAngle: 2,
        itemStyle: { borderRadius: 5 },
        label: { color: palette.ink, formatter: "{b}\n{d} %", lineHeight: 16 },
        labelLine: { lineStyle: { color: palette.quiet } },
        data: result.rows.map((row, index) => ({ name: names[index], value: number(row[plan.values[0] ?? 0]) })),
      },
    ],
  };
}

function labels(result: QueryResult, plan: ChartPlan): string[] {
  return result.rows.map((row) => String(row[plan.label] ?? "none"));
}

/** The chart in one sentence, for those who hear it. */
export function chartSentence(result: QueryResult, plan: ChartPlan, kind: ChartKind): string {
  const column = plan.values[0] ?? 0;
  const names = labels(result, plan);
  const points = result.rows.map((row, index) => ({ name: names[index], value: number(row[column]) ?? 0 }));
  const ordered = [...points].sort((one, other) => other.value - one.value);
  const [high, low] = [ordered[0], ordered.at(-1)];
  const kinds = { bar: "Bar", line: "Line", pie: "Pie" };
  return (
    `${kinds[kind]} chart of ${plan.values.map((at) => result.columns[at]).join(", ")} by ${result.columns[plan.label]}, ` +
    `${points.length} points. Highest: ${high?.name}, ${exact(high?.value ?? 0)}. Lowest: ${low?.name}, ${exact(low?.value ?? 0)}. ` +
    "The table view has the same figures."
  );
}
