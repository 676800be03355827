// Everything is put on the page once; colours follow when they change, on paper as well.

showTitle();
showSummary();
showIngredients();
showNotices();
showModes(chooseMode);
showLongitudinal();
showTensors();
showCharges();
readColours();
showStructure();
showBands();
showOptics();
showInfrared();
showThermal();
showCertainty();
showMade();
showUnits();

for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  window.matchMedia(query).addEventListener("change", () => {
    readColours();
    draw();
  });
}
