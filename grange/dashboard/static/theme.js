/* Sets the theme before the page is drawn: the one chosen here, or that of the system. */
(() => {
  const chosen = localStorage.getItem('grange.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
